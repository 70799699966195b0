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
    giou_focal,
    ia_bce,
    mal,
    position_supervised,
    quality_focal,
    varifocal,
)
from detassign.assigners.soft_targets import Alignment, IoU, PerImage, PerObject
from detassign.assigners.weighting import SoftTarget, iou_bce, soft_label, task_aligned

PREDICTED, OBJECT = (
    box_convert(torch.tensor([[box]]), "cxcywh", "xyxy") for box in ([0.5, 0.5, 0.4, 0.4], [0.56, 0.54, 0.36, 0.44])
)
P, OVERLAP = 0.3775407, 0.617886
COMPLETE = OVERLAP - 0.0052 / 0.4052 - 0.010427 * 0.004026  # centres, and 0.36 x 0.44 beside a square


def assignment_of(weighting, pairs=1, boxes=PREDICTED):
    logits = torch.tensor([[[-0.5, -1.0]]], dtype=torch.float64)
    predictions = Predictions(logits, boxes.double())
    targets = Targets(OBJECT.double(), torch.tensor([[0]]), torch.tensor([[True]]), sizes=torch.ones(1, 2))
    zeros = torch.zeros(pairs, dtype=torch.long)
    return weighting(predictions, targets, Matches(zeros, zeros, zeros, torch.ones(pairs)), Sigmoid()(predictions))


@pytest.mark.parametrize(
    ("weighting", "positive", "negative", "elsewhere"),
    [
        (focal(), 0.096864, 0.0, 0.054247),
        (quality_focal(), 0.035693, 0.022073, 0.072329),
        (varifocal(), 0.381783, 0.236103, 0.054247),
        (mal(), 0.485694, 0.514306, 0.139472),
        (ia_bce(), 0.546289, 0.453711, 0.072329),
        (position_supervised(), 0.096864, 0.0, 0.054247),
        (giou_focal(), 0.034659, 0.008931, 0.054247),
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
        "ia_bce",
        "position_supervised",
        "giou_focal",
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


def test_of_several_pairs_of_an_object_the_later_ranked_count_less():
    """Three samples of one object; the second has its box exactly and so the first rank, the first a better class score."""
    predictions = Predictions(
        torch.tensor([[[0.0], [-0.5], [-0.5]]]), torch.cat([PREDICTED, OBJECT, OBJECT + 0.3], 1), groups=1
    )
    targets = Targets(OBJECT, torch.tensor([[0]]), torch.tensor([[True]]))
    zeros = torch.zeros(3, dtype=torch.long)
    matches = Matches(zeros, torch.arange(3), zeros, torch.ones(3))
    settings = {"rank_decay": 1.5, "count": "targets_once"}
    plain, decayed = (
        weighting(predictions, targets, matches, Sigmoid()(predictions)) for weighting in (ia_bce(), ia_bce(**settings))
    )
    left = torch.tensor([0.513417, 1.0, 0.263597])  # e^(-1/1.5), 1 and e^(-2/1.5)
    torch.testing.assert_close(decayed.box, left, atol=1e-6, rtol=0)
    torch.testing.assert_close(decayed.positive, left * plain.positive, atol=1e-6, rtol=0)
    torch.testing.assert_close(decayed.negative[0, :, 0], 1 - left * plain.positive, atol=1e-6, rtol=0)
    assert plain.normalizers.flatten().tolist() == [3.0, 3.0, 3.0]
    assert decayed.normalizers.flatten().tolist() == [1.0, 1.0, 1.0]


def test_ranks_are_within_an_object_and_its_image():
    targets = Targets(OBJECT.expand(2, 2, 4), torch.tensor([[0, 0]] * 2), torch.ones(2, 2, dtype=torch.bool))
    predictions = Predictions(torch.zeros(2, 4, 1), PREDICTED.expand(2, 4, 4))
    image, target = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 0])
    matches = Matches(image, torch.arange(4), target, torch.ones(4))
    box = ia_bce(rank_decay=1.0)(predictions, targets, matches, Sigmoid()(predictions)).box
    assert box.tolist() == pytest.approx([1.0, 1.0, 1.0, 0.367879], abs=1e-6)


def test_equal_pairs_of_an_object_are_ranked_by_the_match():
    """Boxes that miss the object, whose score to reach is its least value."""
    predictions = Predictions(torch.zeros(1, 3, 1), (OBJECT + 500).expand(1, 3, 4))
    targets, zeros = Targets(OBJECT, torch.tensor([[0]]), torch.tensor([[True]])), torch.zeros(3, dtype=torch.long)
    matches = Matches(zeros, torch.arange(3), zeros, torch.tensor([0.2, 0.1, 0.3]))
    box = ia_bce(rank_decay=1.0)(predictions, targets, matches, Sigmoid()(predictions)).box
    assert box.tolist() == pytest.approx([0.367879, 0.135335, 1.0], abs=1e-6)


def test_the_best_pair_of_every_image_is_to_reach_one():
    boxes = torch.tensor([[[0.0, 0.0, 8.0, 4.0], [0.0, 0.0, 8.0, 2.0]], [[0.0, 0.0, 8.0, 1.0], [0.0, 0.0, 8.0, 0.0]]])
    targets = Targets(torch.tensor([[[0.0, 0.0, 8.0, 8.0]]] * 2), torch.zeros(2, 1).long(), torch.ones(2, 1).bool())
    image = torch.tensor([0, 0, 1, 1])
    matches = Matches(image, torch.tensor([0, 1, 0, 1]), torch.zeros(4).long(), torch.ones(4))
    predictions = Predictions(torch.zeros(2, 2, 1), boxes)
    for power, wanted in ((1.0, [1.0, 0.5, 1.0, 0.0]), (2.0, [1.0, 0.25, 1.0, 0.0])):
        values = PerImage(IoU(power))(predictions, targets, matches, Sigmoid()(predictions))
        assert values.tolist() == pytest.approx(wanted, abs=1e-6)


def test_images_without_objects_may_be_left_alone():
    """So DDQ's code has it; else every sample of them is pushed down."""
    predictions = Predictions(torch.zeros(2, 1, 1), PREDICTED.expand(2, 1, 4))
    mask = torch.tensor([[True], [False]])
    targets = Targets(OBJECT.expand(2, 1, 4), torch.zeros(2, 1).long(), mask)
    none = torch.zeros(0, dtype=torch.long)
    matches = Matches(none, none, none, torch.ones(0))
    for negatives, wanted in (("with_targets", [0.25, 0.0]), ("all", [0.25, 0.25])):
        weighting = task_aligned(negatives=negatives)
        assert weighting(predictions, targets, matches, Sigmoid()(predictions)).negative.flatten().tolist() == wanted


@pytest.mark.parametrize(
    ("weighting", "wanted"),
    [
        (ia_bce(eps=1e-6), 0.546287),
        (position_supervised(eps=1e-6), 1.0),
        (SoftTarget(IoU(eps=1e-6)), 0.617883),
        (giou_focal(eps=1e-6), 0.7951075),
        (SoftTarget(IoU(eps=0.5)), 0.1216 / 0.6968),
    ],
)
def test_eps_is_added_in_shares_of_the_image(weighting, wanted):
    assert assignment_of(weighting).details["target"].item() == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize(
    ("box_weight", "wanted"), [("one", 1.0), ("score", P), ("iou", OVERLAP), ("target", OVERLAP**2)]
)
def test_boxes_weigh_by_choice(box_weight, wanted):
    assignment = assignment_of(SoftTarget(IoU(2.0), box_weight=box_weight, box_scale=3.0, box_floor=0.0))
    assert assignment.box.item() == pytest.approx(3 * wanted, abs=1e-5)
    assert assignment.normalizers[2].item() == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize(
    ("count", "wanted"), [("positives", 5.0), ("targets", 5.0), ("targets_once", 1.0), ("weights", 5 * OVERLAP)]
)
def test_classes_and_boxes_are_divided_by_choice(count, wanted):
    assignment = assignment_of(SoftTarget(count=count), pairs=5)
    boxes = 1.0 if count == "targets_once" else 5.0
    assert assignment.normalizers.tolist() == pytest.approx([wanted, wanted, boxes], abs=1e-4)
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
            "count: expected one of positives, targets, targets_once, weights, images, positives_and_images, got 'boxes'",
        ),
        (
            {"box_count": "boxes"},
            "box_count: expected one of positives, targets, targets_once, weights, images, positives_and_images, got 'boxes'",
        ),
        ({"negatives": "some"}, "negatives: expected one of all, matched, with_targets, got 'some'"),
        ({"rank_decay": 0.0}, "rank_decay: expected a positive number, got 0.0"),
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
    with pytest.raises(
        ValueError, match="eps: expected 0 with the overlap 'ciou', which has one of its own, got 1e-06"
    ):
        Alignment(overlap="ciou", eps=1e-6)
