"""Which query of which output learns which object."""

import matplotlib.image
import numpy as np
import pytest
import torch
from support.query import SMALL, batch, detector

from detassign.detectors.targets import targets_of
from detassign.evidence.drawing.canvas import MARGIN, save
from detassign.evidence.drawing.outputs import GAP, PANEL, TITLE, draw
from detassign.evidence.inspection.outputs import inspect_outputs
from detassign.evidence.inspection.scene import Scene

EXTRA = {"groups": {"k": 3}, "branch": {"queries": 10, "repeat": 2}, "path": {"assigner": "atss"}}


@pytest.fixture(scope="module")
def learnt():
    torch.manual_seed(0)
    model = detector("dino_4scale", extra=EXTRA).eval()
    images, samples = batch(3)
    targets = targets_of(samples)
    with torch.no_grad():
        outputs = model._outputs(images, samples, targets.sizes, targets)
        return targets, outputs, {each.name: each for each in inspect_outputs(model.bbox_head, outputs, targets)}


def test_every_output_is_there_with_its_queries(learnt):
    counts = {name: each.queries for name, each in learnt[2].items()}
    groups = 2 * SMALL.queries
    assert counts.pop("dn") == learnt[1].denoising.boxes.shape[1]
    assert counts == {"decoder": SMALL.queries, "groups": groups, "branch": 10, "path": SMALL.queries}


def test_pairs_of_every_object_are_as_many_as_its_matching_gives(learnt):
    per_object = {name: np.bincount(each.learnt, minlength=3).tolist() for name, each in learnt[2].items()}
    assert per_object["decoder"] == [1, 1, 1]
    assert per_object["groups"] == [2, 2, 2]
    assert per_object["branch"] == [2, 2, 2]
    assert per_object["dn"] == [int(learnt[1].denoising.positive.sum()) // 3] * 3


def test_queries_of_groups_are_counted_through(learnt):
    groups = learnt[2]["groups"]
    size = SMALL.queries
    assert sorted((groups.query // size).tolist()) == [0, 0, 0, 1, 1, 1]


def test_numbers_are_of_the_last_layer(learnt):
    """Boxes are those that the query predicts there, and weights shares of an object's heaviest."""
    targets, outputs, found = learnt
    _, own = outputs.split()
    scale = targets.sizes[0].repeat(2)
    for query, box in zip(found["decoder"].query, found["decoder"].boxes, strict=True):
        center, size = own.boxes[-1, 0, query].split(2)
        expected = torch.cat((center - size / 2, center + size / 2)) * scale
        torch.testing.assert_close(torch.from_numpy(box), expected)
    for each in found.values():
        for index in set(each.learnt.tolist()):
            weights = [entry["weight"] for entry in each.target(index)]
            assert weights[0] == max(weights) == pytest.approx(1)
            assert weights == sorted(weights, reverse=True)


def test_an_image_without_objects_teaches_nothing():
    model = detector("dino_4scale", extra=EXTRA).eval()
    images, samples = batch(0)
    targets = targets_of(samples)
    with torch.no_grad():
        outputs = model._outputs(images, samples, targets.sizes, targets)
        found = inspect_outputs(model.bbox_head, outputs, targets)
    assert [each.totals()["pairs"] for each in found] == [0] * len(found)


def test_the_picture_has_a_panel_per_output(learnt, tmp_path):
    targets, _, found = learnt
    height, width = int(targets.sizes[0, 1]), int(targets.sizes[0, 0])
    scene = Scene("a.jpg", 0, np.zeros((height, width, 3), np.uint8), targets, ("a", "b", "c", "d"), {})
    save(draw(scene, list(found.values())), tmp_path / "a.png")
    picture = matplotlib.image.imread(tmp_path / "a.png")
    assert picture.shape[1] == 2 * MARGIN + 3 * PANEL + 2 * GAP
    rows = round(height * PANEL / width) + TITLE
    assert 2 * rows < picture.shape[0] < 3 * rows
