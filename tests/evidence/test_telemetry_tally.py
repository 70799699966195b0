"""Sums over steps, against values worked out by hand; and where they would wait for a GPU."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from support.small import one_image, pyramid
from support.telemetry import assignment

from detassign.assigners import Predictions, Targets, build
from detassign.bench.stand_in import GPU, stand_in
from detassign.evidence.telemetry.tally import count, pearson, summarise, tally

CLASSES = ("cat", "dog")
SCORING = build("fcos", 2).pair_scores


def dense_step():
    """Two levels of 4 and 1 samples; a small cat, a medium dog, and a small cat that nobody learns.

    Sample 0 learns both cat and dog. The cat has w⁺ 1 and 3 on the first level, the dog 2 there and 2 on the second.
    """
    predictions = pyramid((2, 2, 8), (1, 1, 16), classes=2)
    targets = one_image((0, 0, 8, 8, 0), (0, 0, 16, 16, 1), (40, 40, 44, 44, 0))
    pairs = [(0, 0, 0, 1.0), (0, 1, 0, 3.0), (0, 0, 1, 2.0), (0, 4, 1, 2.0), (0, 2, 1, 0.0)]
    areas = torch.tensor([[100.0, 2000.0, 100.0]])
    return assignment(pairs, (1, 5, 2)), predictions, targets, areas


def test_the_sums_of_a_dense_step():
    found = {name: value.tolist() for name, value in tally(*dense_step(), SCORING).items()}
    assert found["targets"] == [[2], [1], [0]]
    assert found["without"] == [[1], [0], [0]]
    assert found["pairs"] == [[2, 0], [1, 1], [0, 0]]
    assert found["weight"] == [[4, 0], [2, 2], [0, 0]]
    assert np.array(found["effective"]).ravel() == pytest.approx([16 / 10, 2, 0])
    assert found["class_targets"] == [2, 1]
    assert found["class_weight"] == [4, 4]
    assert found["claimed"] == [3, 1]
    assert found["best"] == [0.75 + 0.5, 2]
    assert found["strides"] == [8, 16]


def test_what_the_sums_of_two_steps_say():
    sums = tally(*dense_step(), SCORING)
    found = summarise({name: 2 * value for name, value in sums.items()}, CLASSES)
    assert found["steps"] == 2
    assert found["targets_by_size"] == {"small": 4, "medium": 2, "large": 0}
    assert found["positives_by_size"] == {"small": 1, "medium": 2, "large": None}
    assert found["without_by_size"] == {"small": 0.5, "medium": 0, "large": None}
    assert found["weight_by_size"] == {"small": 2, "medium": 4, "large": None}
    assert found["weight_share_by_size"] == {"small": 0.5, "medium": 0.5, "large": 0}
    assert found["positives_by_level"] == pytest.approx({"8": 1, "16": 1 / 3})
    assert found["positives_by_size_and_level"]["medium"] == {"8": 1, "16": 1}
    assert found["weight_by_class"] == {"cat": 2, "dog": 4}
    assert found["weight_share_by_class"] == {"cat": 0.5, "dog": 0.5}
    assert found["contested"] == pytest.approx(1 / 3)
    assert found["best_share"] == pytest.approx(1.25 / 2)


def query_step():
    """Two decoder layers and the encoder's proposals, two images with one and two objects."""
    logits = torch.arange(24.0).view(6, 2, 2).sin()
    predictions = Predictions(logits, torch.tensor([0.0, 0.0, 8.0, 8.0]).expand(6, 2, 4), groups=3, final=1)
    targets = Targets.from_lists(
        [torch.tensor([[0.0, 0, 8, 8]]), torch.tensor([[0.0, 0, 8, 4], [0, 0, 100, 100]])],
        [torch.tensor([1]), torch.tensor([0, 1])],
    ).repeat(3)
    pairs = [
        (0, 0, 0, 1.0),
        (1, 0, 0, 1.0),
        (1, 1, 1, 1.0),
        (2, 1, 0, 1.0),
        (3, 0, 1, 1.0),
        (3, 1, 0, 1.0),
        (4, 0, 0, 1.0),
    ]
    areas = torch.tensor([[64.0, 0], [32, 10000]]).repeat(3, 1)
    return assignment(pairs, (6, 2, 2)), predictions, targets, areas


def test_the_levels_of_queries_are_layers_and_the_objects_of_a_step_count_in_each():
    found = summarise(tally(*query_step(), build("hungarian", 2).pair_scores), CLASSES)
    assert found["levels"] == "decoder layers"
    assert found["targets_by_size"] == {"small": 2, "medium": 0, "large": 1}
    assert found["positives_by_level"] == pytest.approx({"0": 1, "1": 1, "encoder": 1 / 3})
    assert found["positives_by_size"] == pytest.approx({"small": 5 / 6, "medium": None, "large": 2 / 3})
    assert found["positives_by_size_and_level"]["large"] == {"0": 1, "1": 1, "encoder": 0}
    assert found["best_share"] == 1


def test_agreement_is_pearsons_over_the_pairs_of_the_layer_that_detects():
    """Pairs (2, 1, 0), (3, 0, 1) and (3, 1, 0) of class 1, 1 and 0; their IoUs are 1, 64 / 10000 and 1/2."""
    given = query_step()
    sums = tally(*given, build("hungarian", 2).pair_scores)
    logits = given[1].logits
    scores = torch.stack([logits[2, 1, 1], logits[3, 0, 1], logits[3, 1, 0]]).sigmoid()
    expected = np.corrcoef(scores.double(), [1, 64 / 10000, 0.5])[0, 1]
    assert sums["agreement"][0] == 3
    assert pearson(sums["agreement"]) == pytest.approx(expected)


def test_agreement_of_what_does_not_vary_is_none():
    assert pearson(torch.tensor([2.0, 1.0, 2.0, 0.5, 2.5, 1.0])) is None  # scores 0.5 and 0.5
    assert pearson(torch.zeros(6)) is None


def test_what_every_run_counts_is_the_same_added_up():
    given = dense_step()
    both = count(given[0], given[2]), tally(*given, SCORING)
    for name, value in both[0].items():
        assert float(value) == pytest.approx(float(both[1][name].sum())), name


def test_a_batch_without_objects_counts_nothing():
    predictions = pyramid((2, 2, 8), classes=2)
    given = assignment([], (1, 4, 2)), predictions, one_image(), torch.zeros(1, 0)
    sums = tally(*given, SCORING)
    assert sum(float(value.sum()) for name, value in sums.items() if name not in ("steps", "strides")) == 0
    found = summarise(sums, CLASSES)
    assert found["contested"] is None
    assert set(found["weight_by_class"].values()) == {None}


@pytest.mark.parametrize("make", [dense_step, query_step])
def test_a_look_waits_for_no_device(make):
    given = make()
    scoring = build("fcos" if make is dense_step else "hungarian", 2).pair_scores
    expected = tally(*given, scoring)
    with stand_in() as record:
        answer, predictions, targets, areas = map(moved, given)
        record.clear()
        found = tally(answer, predictions, targets, areas, scoring)
        assert record.waits == {}
        assert record.mixed == {}
    for name, value in expected.items():
        torch.testing.assert_close(found[name].cpu(), value)


def moved(value):
    """A tensor, or a structure of them, on the stand-in."""
    if isinstance(value, torch.Tensor):
        return value.to(GPU, non_blocking=True)
    names = (
        ["matches", "positive", "box", "normalizers"] if hasattr(value, "matches") else [f.name for f in fields(value)]
    )
    parts = {name: getattr(value, name) for name in names}
    tensors = {name: moved(part) for name, part in parts.items() if isinstance(part, torch.Tensor) or name == "matches"}
    if hasattr(value, "matches"):
        tensors["negative"] = moved(value.negative)
    return replace(value, **tensors)
