"""Instability and what moved, against values worked out by hand."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from support.small import one_image, pyramid
from support.telemetry import assignment, image

from detassign.assigners import BACKGROUND, Predictions, Targets, build
from detassign.compat.checkpoint import safe_load
from detassign.evidence.telemetry.learnt import (
    Learnt,
    between_layers,
    instability,
    learnt,
    moved,
    moved_between_layers,
)


def test_the_instability_of_queries_is_that_of_dn_detr():
    """V of four epochs: (0, 1, -, …), (0, -, 1, …), (1, -, 0, …), the same; so IS is 2, 2 and 0."""
    epochs = [
        image((0, 0, 0, 1), (0, 1, 1, 1)),
        image((0, 0, 0, 1), (0, 2, 1, 1)),
        image((0, 0, 1, 1), (0, 2, 0, 1)),
        image((0, 0, 1, 0.5), (0, 2, 0, 2)),
    ]
    assert epochs[0].vectors().tolist() == [[0, 1, *[BACKGROUND] * 4]]
    found = [instability(*pair).tolist() for pair in pairwise(epochs)]
    assert found == [[2], [2], [0]]
    shares = [moved(*pair).tolist() for pair in pairwise(epochs)]
    assert shares == [[[0, 1]], [[1, 1]], [[0, 0]]]


def test_an_object_that_moves_to_a_free_query_counts_twice_so_that_twice_the_objects_is_the_most():
    before, now = image((0, 0, 0, 1), (0, 1, 1, 1)), image((0, 2, 0, 1), (0, 3, 1, 1))
    assert instability(before, now).tolist() == [4]


def test_what_moved_of_a_dense_object_is_its_weight_at_other_samples():
    """Shares (½, ½, 0, 0) and (0, ½, ¼, ¼), whatever the sums are: half of 1/2 + 1/4 + 1/4."""
    before, now = image((0, 0, 0, 3), (0, 1, 0, 3)), image((0, 1, 0, 1), (0, 2, 0, 0.5), (0, 3, 0, 0.5))
    assert moved(before, now)[0, 0] == pytest.approx(0.5)
    assert instability(before, now).tolist() == [3]  # samples 0, 2 and 3


def test_an_object_that_wins_or_loses_all_samples_has_moved_and_one_without_any_has_nothing_to_compare():
    with_first, without = image((0, 4, 0, 0.2)), image()
    for pair in [(with_first, without), (without, with_first)]:
        np.testing.assert_array_equal(moved(*pair), [[1, np.nan]])


def test_layers_are_compared_with_the_epoch_before_and_with_each_other_without_those_behind_the_last():
    before = image((0, 0, 0, 1), (1, 1, 0, 1), (2, 2, 0, 1), layers=3, objects=1, final=1)
    now = image((0, 0, 0, 1), (1, 0, 0, 1), (2, 2, 0, 1), layers=3, objects=1, final=1)
    assert instability(before, now).tolist() == [0, 2, 0]
    assert moved(before, now).tolist() == [[0], [1], [0]]
    assert between_layers(before).tolist() == [2]
    assert moved_between_layers(before).tolist() == [[1]]
    assert between_layers(now).tolist() == [0]
    assert moved_between_layers(now).tolist() == [[0]]


def test_vectors_are_the_assignments_own():
    """With samples that several objects claim, and equal weights."""
    predictions = pyramid((3, 3, 8), (2, 2, 16), classes=2)
    targets = one_image((0, 0, 20, 20, 0), (4, 4, 30, 30, 1))
    pairs = [
        (0, 1, 0, 0.5),
        (0, 1, 1, 0.5),
        (0, 2, 1, 0.2),
        (0, 2, 0, 0.9),
        (0, 5, 1, 0.1),
        (0, 12, 0, 0.3),
        (0, 3, 0, 0),
    ]
    given = assignment(pairs, predictions.logits.shape)
    found = learnt(given, predictions, targets, build("fcos", 2).pair_scores)
    np.testing.assert_array_equal(found.vectors(), given.target_of(13).numpy())
    assert found.sample.tolist() == [1, 1, 2, 2, 5, 12]  # without w⁺ nothing is learnt
    assert found.level.tolist() == [0, 0, 0, 0, 0, 1]
    assert found.per_object(found.weight)[0] == pytest.approx([1.7, 0.8])


def test_score_and_overlap_of_pairs_are_those_of_inference():
    """Under FCOS the square root of class and centerness is what detections are ranked by."""
    logits, boxes = torch.tensor([[[1.0, -1.0]]]), torch.tensor([[[0.0, 0.0, 8.0, 8.0]]])
    predictions = Predictions(logits, boxes, torch.tensor([[0.5]]))
    targets = Targets.from_lists([torch.tensor([[0.0, 0.0, 8.0, 16.0]])], [torch.tensor([1])])
    assigner = build("fcos", 2)
    scores, factor = assigner.inference_scores(predictions)
    found = learnt(assignment([(0, 0, 0, 1.0)], (1, 1, 2)), predictions, targets, assigner.pair_scores)
    assert found.score == pytest.approx([float(scores[0, 0, 1] * factor[0, 0])])
    assert found.iou == pytest.approx([0.5])


def test_several_images_are_refused():
    predictions = pyramid((2, 2, 8), images=2, classes=2)
    targets = Targets.from_lists([torch.zeros(0, 4)] * 2, [torch.zeros(0)] * 2)
    with pytest.raises(ValueError, match="expected those of one image, got 2"):
        learnt(assignment([], (2, 4, 2)), predictions, targets, build("fcos", 2).pair_scores)


def test_what_was_learnt_survives_a_checkpoint(tmp_path):
    before = image((0, 0, 0, 0.25), (1, 3, 1, 0.5), layers=2)
    torch.save(before.to_tensors(), tmp_path / "one.pth")
    again = Learnt.from_tensors(safe_load(tmp_path / "one.pth"))
    assert instability(before, again).tolist() == [0, 0]
    assert again.weight.tolist() == [0.25, 0.5]
