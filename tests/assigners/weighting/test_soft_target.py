"""The family on one pair: predicted (.5, .5, .4, .4), object (.56, .54, .36, .44), logits -0.5 on its class and -1 beside."""

import pytest
import torch
from torchvision.ops import box_convert

from detassign.assigners import (
    Assigner,
    Matches,
    Predictions,
    Sigmoid,
    Targets,
    aligned_bce,
    focal,
    quality_focal,
    varifocal,
)
from detassign.assigners.soft_targets import Alignment, GIoU, IoU, PerObject
from detassign.assigners.weighting import SoftTarget, iou_bce, soft_label, task_aligned

PREDICTED, OBJECT = (
    box_convert(torch.tensor([[box]]), "cxcywh", "xyxy") for box in ([0.5, 0.5, 0.4, 0.4], [0.56, 0.54, 0.36, 0.44])
)
MAL = SoftTarget(IoU(1.5), "none", 1.5, detach=True)
GIOU_AWARE = SoftTarget(GIoU(), matched_scale=0.25, background_scale=0.75)
P, OVERLAP = 0.3775407, 0.617886
COMPLETE = OVERLAP - 0.0052 / 0.4052 - 0.010427 * 0.004026  # centres, and 0.36 x 0.44 beside a square


def assignment_of(weighting, pairs=1, boxes=PREDICTED):
    logits = torch.tensor([[[-0.5, -1.0]]], dtype=torch.float64)
    predictions = Predictions(logits, boxes.double())
    targets = Targets(OBJECT.double(), torch.tensor([[0]]), torch.tensor([[True]]))
    zeros = torch.zeros(pairs, dtype=torch.long)
    return weighting(predictions, targets, Matches(zeros, zeros, zeros, torch.ones(pairs)), Sigmoid()(predictions))


@pytest.mark.parametrize(
    ("weighting", "positive", "negative", "elsewhere"),
    [
        (focal(), 0.096864, 0.0, 0.054247),
        (quality_focal(), 0.035693, 0.022073, 0.072329),
        (varifocal(), 0.381783, 0.236103, 0.054247),
        (MAL, 0.485694, 0.514306, 0.139472),
        (GIOU_AWARE, 0.034659, 0.008931, 0.054247),
        (aligned_bce(overlap="iou"), 0.5 * OVERLAP, 0.5 * (1 - OVERLAP), 0.5),
        (aligned_bce(), 0.5 * COMPLETE, 0.5 * (1 - COMPLETE), 0.5),
        (task_aligned(), 0.035692, 0.022073, 0.072329),
        (soft_label(), 0.035693, 0.022073, 0.072329),
        (iou_bce(), OVERLAP, 1 - OVERLAP, 1.0),
    ],
    ids=[
        "focal",
        "quality_focal",
        "varifocal",
        "mal",
        "giou_aware",
        "aligned_iou",
        "aligned_bce",
        "task_aligned",
        "soft_label",
        "iou_bce",
    ],
)
def test_each_member_weighs_the_pair_as_published(weighting, positive, negative, elsewhere):
    assignment = assignment_of(weighting)
    assert assignment.positive.item() == pytest.approx(positive, abs=2e-5)
    assert assignment.negative.flatten().tolist() == pytest.approx([negative, elsewhere], abs=2e-6)


def test_samples_without_an_object_are_left_to_the_branch_where_only_matched_ones_are_pushed_down():
    nothing = assignment_of(iou_bce(), pairs=0)
    assert nothing.negative.tolist() == [[[0.0, 0.0]]]
    assert assignment_of(quality_focal(), pairs=0).negative.min() > 0
    with pytest.raises(ValueError, match="SoftTarget weighting: defined for the score model Sigmoid, not for Softmax"):
        Assigner("center_sampling", iou_bce(), "softmax")


@pytest.mark.parametrize(
    ("box_weight", "wanted"), [("one", 1.0), ("score", P), ("iou", OVERLAP), ("target", OVERLAP**2)]
)
def test_boxes_weigh_by_choice(box_weight, wanted):
    assignment = assignment_of(SoftTarget(IoU(2.0), box_weight=box_weight, box_scale=3.0, box_floor=0.0))
    assert assignment.box.item() == pytest.approx(3 * wanted, abs=1e-5)
    assert assignment.normalizers[2].item() == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize(("count", "wanted"), [("positives", 5.0), ("targets", 5.0), ("weights", 5 * OVERLAP)])
def test_classes_and_boxes_are_divided_by_choice(count, wanted):
    assignment = assignment_of(SoftTarget(count=count), pairs=5)
    assert assignment.normalizers.tolist() == pytest.approx([wanted, wanted, 5.0], abs=1e-4)
    swapped = assignment_of(SoftTarget(count="positives", box_count=count, box_weight="target"), pairs=5)
    assert swapped.normalizers.tolist() == pytest.approx([5.0, 5.0, wanted], abs=1e-4)


def test_a_box_that_is_not_a_number_wants_nothing():
    assignment = assignment_of(SoftTarget("giou"), boxes=torch.full((1, 1, 4), torch.nan))
    assert assignment.positive.tolist() == [0.0]
    assert assignment.details["target"].tolist() == [0.0]


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"modulation": "focal"}, "modulation: expected one of none, distance, target, got 'focal'"),
        (
            {"count": "boxes"},
            "count: expected one of positives, targets, weights, images, positives_and_images, got 'boxes'",
        ),
        (
            {"box_count": "boxes"},
            "box_count: expected one of positives, targets, weights, images, positives_and_images, got 'boxes'",
        ),
        ({"negatives": "some"}, "negatives: expected one of all, matched, got 'some'"),
        ({"target": "best"}, "unknown soft target 'best'"),
    ],
)
def test_an_unknown_choice_is_refused(argument, message):
    with pytest.raises(ValueError, match=message):
        SoftTarget(**argument)


def test_aligned_targets_may_be_measured_by_the_complete_iou():
    target = assignment_of(SoftTarget(Alignment(0.5, 2.0, overlap="ciou"))).details["target"]
    assert target.item() == pytest.approx(P**0.5 * COMPLETE**2, abs=1e-5)
    stretched = assignment_of(SoftTarget(PerObject(Alignment(), overlap="ciou"))).details["target"]
    assert stretched.item() == pytest.approx(COMPLETE, abs=2e-5)
    for part in (Alignment, PerObject):
        with pytest.raises(ValueError, match="overlap: expected one of iou, ciou, got 'giou'"):
            part(overlap="giou")
