from dataclasses import replace

import pytest
import torch
from support.small import one_image, pairs, pyramid, samples_of

from detassign.assigners import Assigner, Predictions, SigmoidObjectness, TaskAligned, focal, task_aligned

YOLO = {"k": 10, "score_power": 0.5, "overlap": "ciou", "best_of": "inside", "conflict": "all", "margin": 1e-9}


def row(*boxes, scores=None, classes=3, **parts):
    """Points at 4, 12, 20, … of one row at stride 8 that predict the given x1, x2 of boxes from y 0 to 8."""
    spans = torch.tensor(boxes, dtype=torch.float32)
    boxes = torch.stack([spans[:, 0], torch.zeros(len(spans)), spans[:, 1], torch.full((len(spans),), 8.0)], -1)
    probability = torch.tensor(scores or [0.5] * len(spans))
    logits = torch.logit(probability)[None, :, None].expand(1, -1, classes).clone()
    return pyramid((1, len(spans), 8), classes=classes, boxes=boxes[None], logits=logits, **parts)


def test_the_score_is_the_probability_times_the_sixth_power_of_the_iou():
    predictions = row((0, 16), (0, 8), scores=[0.25, 0.5])
    matches = TaskAligned()(predictions, one_image((0, 0, 16, 8, 1)))
    assert pairs(matches) == {(0, 0, 0), (0, 1, 0)}
    assert matches.score.tolist() == pytest.approx([0.25, 0.5 * 0.5**6])
    matches = TaskAligned(score_power=0.5, iou_power=2)(predictions, one_image((0, 0, 16, 8, 1)))
    assert matches.score.tolist() == pytest.approx([0.5, 0.5**0.5 * 0.25])


def test_the_probability_is_that_of_the_objects_class_under_the_assigners_score_model():
    predictions = row((0, 16), (0, 16))
    predictions.logits[0, 0, 2] = 5.0
    targets = one_image((0, 0, 16, 8, 2))
    assert TaskAligned(k=1)(predictions, targets).sample.tolist() == [0]
    predictions.objectness[0, 0] = -9.0
    joint = Assigner({"type": "task_aligned", "k": 1}, focal(), SigmoidObjectness())
    assert joint.match(predictions, targets).sample.tolist() == [1]
    assert "objectness" in joint.matching.needs


def test_a_sample_outside_takes_a_place_where_the_best_of_all_are_chosen():
    predictions = row((0, 16), (0, 12), (0, 16), scores=[0.5, 0.5, 0.9])  # the third point lies outside
    targets = one_image((0, 0, 16, 8, 0))
    assert samples_of(TaskAligned(k=2)(predictions, targets)) == [0]
    assert samples_of(TaskAligned(k=2, best_of="inside")(predictions, targets)) == [0, 1]


def test_a_pair_without_alignment_is_no_pair():
    predictions = row((0, 16), (40, 56))
    targets = one_image((0, 0, 16, 8, 0))
    for matching in (TaskAligned(), TaskAligned(**YOLO)):
        assert samples_of(matching(predictions, targets)) == [0]


def test_places_that_are_left_may_be_filled_with_pairs_without_alignment():
    predictions = row((0, 16), (40, 56), (40, 56))
    targets = one_image((0, 0, 16, 8, 0))
    matches = TaskAligned(k=3, best_of="filled")(predictions, targets)
    assert samples_of(matches) == [0, 1]
    assert matches.score.tolist() == [0.5, 0.0]


def test_a_sample_that_no_one_fits_goes_to_the_first_object_where_places_are_filled():
    """As in YOLO's code, although the first object lies elsewhere; the sample's target is 0."""
    predictions = row((0, 8), (80, 88), (80, 88))
    targets = one_image((0, 0, 8, 8, 0), (8, 0, 16, 8, 1), (9, 0, 17, 8, 2))
    matches = TaskAligned(k=3, best_of="filled", conflict="all")(predictions, targets)
    assert pairs(matches) == {(0, 0, 0), (0, 1, 0)}
    assert pairs(TaskAligned(k=3, best_of="inside", conflict="all")(predictions, targets)) == {(0, 0, 0)}


def test_a_contested_sample_goes_to_the_object_that_it_overlaps_most():
    predictions = row((0, 8), (8, 16), (0, 24))
    targets = one_image((0, 0, 24, 8, 0), (0, 0, 16, 8, 0))
    matches = TaskAligned(k=3)(predictions, targets)
    assert pairs(matches) == {(0, 0, 1), (0, 1, 1), (0, 2, 0)}


def test_among_all_a_contested_sample_may_go_to_an_object_that_did_not_choose_it():
    """The first object's own sample fits it best, so with k = 1 it does not ask for the one the others contest."""
    predictions = row((0, 24), (2, 22), (40, 48))
    targets = one_image((0, 0, 24, 8, 0), (7, 0, 22, 8, 1), (7, 0, 21, 8, 1))
    options = {"k": 1, "best_of": "inside"}
    assert pairs(TaskAligned(**options)(predictions, targets)) == {(0, 0, 0), (0, 1, 1)}
    assert pairs(TaskAligned(**options, conflict="all")(predictions, targets)) == {(0, 0, 0), (0, 1, 0)}
    assert pairs(TaskAligned(**options, conflict="all", keep=1)(predictions, targets)) == {(0, 0, 0)}


def test_after_conflicts_every_object_keeps_its_best():
    predictions = row((0, 24), (2, 24), (4, 24))
    targets = one_image((0, 0, 24, 8, 0))
    assert samples_of(TaskAligned(k=3, keep=2)(predictions, targets)) == [0, 1]
    matching = TaskAligned(k=7, keep=1)
    assert samples_of(matching(predictions, targets)) == [0]
    assert matching.cardinality == TaskAligned(k=1).cardinality == "one-to-one"
    assert TaskAligned().cardinality == "one-to-many"


def test_a_small_side_is_enlarged_where_points_are_looked_for():
    predictions = row((4, 12), (6, 10))
    targets = one_image((6, 3, 10, 5, 0))  # between the points at x 4 and 12
    assert len(TaskAligned(**YOLO)(predictions, targets).sample) == 0
    matching = TaskAligned(**YOLO, min_side=16)
    assert samples_of(matching(predictions, targets)) == [0, 1]
    assert not matching.scale_invariant


def test_the_margin_is_in_pixels():
    predictions, targets = row((0, 8)), one_image((3.5, 0, 8, 8, 0))
    assert samples_of(TaskAligned(margin=0.49)(predictions, targets)) == [0]
    assert samples_of(TaskAligned(margin=0.5)(predictions, targets)) == []


@pytest.mark.parametrize("options", [{}, YOLO], ids=["tood", "yolo"])
def test_a_prediction_that_is_not_a_number_is_never_chosen(options):
    predictions, targets = row((0, 16), (0, 16), (0, 16)), one_image((0, 0, 24, 8, 0))
    predictions.boxes[0, 0] = torch.nan
    predictions.logits[0, 1] = torch.nan
    matches = TaskAligned(**options)(predictions, targets)
    assert samples_of(matches) == [2]
    assert matches.score.isfinite().all()


@pytest.mark.parametrize("options", [{}, YOLO], ids=["tood", "yolo"])
def test_samples_outside_the_image_take_no_place(options):
    predictions = row((0, 24), (0, 20), (0, 16), valid=torch.tensor([[False, True, True]]))
    assert samples_of(TaskAligned(**{**options, "k": 2})(predictions, one_image((0, 0, 24, 8, 0)))) == [1, 2]


def test_few_targets_at_a_time_give_the_same_pairs(monkeypatch):
    predictions = row((0, 24), (2, 24), (4, 24))
    targets = one_image((0, 0, 24, 8, 0), (0, 0, 22, 8, 1), (8, 0, 24, 8, 2))
    whole = TaskAligned(k=2)(predictions, targets)
    monkeypatch.setattr("detassign.assigners.matching.pairs.PAIRS_AT_ONCE", 1)
    parts = TaskAligned(k=2)(predictions, targets)
    assert pairs(parts) == pairs(whole)
    assert torch.equal(parts.score, whole.score)


def test_samples_in_a_crowd_region_are_not_pushed_down_unless_they_have_an_object():
    predictions = row((0, 8), (8, 16), (16, 24))
    targets = one_image((0, 0, 8, 8, 0), ignore=[[0, 0, 16, 8]])
    assert TaskAligned()(predictions, targets).ignored.tolist() == [[False, True, False]]
    assert TaskAligned(ignore_threshold=0)(predictions, targets).ignored is None


def test_it_runs_on_samples_with_a_geometry_of_their_own():
    predictions, targets = row((0, 16), (0, 12)), one_image((0, 0, 16, 8, 0))
    own = replace(predictions, points=predictions.points[None], strides=predictions.strides[None], level_sizes=None)
    assert pairs(TaskAligned()(own, targets)) == pairs(TaskAligned()(predictions, targets))


def test_it_learns_under_toods_weighting():
    predictions = row((0, 16), (0, 12))
    logits, boxes = predictions.logits.requires_grad_(), predictions.boxes.requires_grad_()
    losses = Assigner(TaskAligned(), task_aligned()).loss(predictions, one_image((0, 0, 16, 8, 0)))
    sum(losses.values()).backward()
    assert logits.grad.isfinite().all()
    assert boxes.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"k": 0}, "k: expected a whole number of at least 1, got 0"),
        ({"keep": 0}, "keep: expected a whole number of at least 1, got 0"),
        ({"overlap": "giou"}, "overlap: expected one of iou, ciou, got 'giou'"),
        ({"best_of": "none"}, "best_of: expected one of inside, all, filled, got 'none'"),
        ({"conflict": "last"}, "conflict: expected one of holders, all, got 'last'"),
    ],
)
def test_a_mistake_is_one_sentence(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        TaskAligned(**arguments)


def test_no_objects_and_no_samples_are_no_trouble():
    assert len(TaskAligned()(row((0, 8)), one_image()).sample) == 0
    nothing = Predictions(
        torch.zeros(1, 0, 3), torch.zeros(1, 0, 4), points=torch.zeros(0, 2), strides=torch.zeros(0), level_sizes=()
    )
    assert len(TaskAligned()(nothing, one_image((0, 0, 8, 8, 0))).sample) == 0
