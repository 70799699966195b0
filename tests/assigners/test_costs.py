"""Costs by hand; the usual ones of one-to-one matchings are in matching/test_hungarian.py."""

import math

import pytest
import torch
from support.small import one_image, pyramid

from detassign.assigners import COSTS, Predictions, Targets
from detassign.assigners.costs import FocalCost

LOGITS = torch.tensor([[[2.0, -1.0, 0.5]]])
HALF = one_image((0, 0, 16, 8, 1))  # the one box, (0, 0, 8, 8), covers half of it


def one(**parts):
    return pyramid((1, 1, 8), logits=LOGITS.clone(), **{"objectness": None, **parts})


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def cost_of(name, predictions=None, targets=HALF):
    return COSTS.build(name)(predictions or one(), targets).item()


def test_the_focal_loss_is_over_all_classes():
    positive, negatives = sigmoid(-1), (sigmoid(2), sigmoid(0.5))
    expected = 0.25 * (1 - positive) ** 2 * -math.log(positive)
    expected += sum(0.75 * p**2 * -math.log(1 - p) for p in negatives)
    assert cost_of("focal_loss") == pytest.approx(expected, rel=1e-5)


def test_the_binary_cross_entropy_is_of_the_geometric_mean_of_class_and_objectness():
    scores = [sigmoid(x) for x in (2.0, -1.0, 0.5)]
    expected = -math.log(scores[1]) - math.log(1 - scores[0]) - math.log(1 - scores[2])
    assert cost_of("binary_cross_entropy") == pytest.approx(expected, rel=1e-5)
    means = [math.sqrt(p * sigmoid(-0.3)) for p in scores]
    expected = -math.log(means[1]) - math.log(1 - means[0]) - math.log(1 - means[2])
    assert cost_of("binary_cross_entropy", one(objectness=torch.tensor([[-0.3]]))) == pytest.approx(expected, rel=1e-5)


def test_the_soft_label_is_the_iou():
    score, others, iou = sigmoid(-1), (sigmoid(2), sigmoid(0.5)), 0.5
    entropy = -iou * math.log(score) - (1 - iou) * math.log(1 - score)
    expected = (iou - score) ** 2 * entropy + sum(p**2 * -math.log(1 - p) for p in others)
    assert cost_of("soft_label") == pytest.approx(expected, rel=1e-5)


def test_the_iou_is_logged_and_at_least_eps():
    assert cost_of("iou_log") == pytest.approx(math.log(2), rel=1e-5)
    assert cost_of({"type": "iou_log", "eps": 1e-7}, targets=one_image((30, 30, 40, 40, 0))) == pytest.approx(
        7 * math.log(10), rel=1e-5
    )


def test_the_centre_distance_is_in_strides_of_the_sample():
    assert cost_of("center_distance") == pytest.approx(10 ** (0.5 - 3), rel=1e-5)  # the point 4, 4 and the centre 8, 4
    assert cost_of("center_distance", targets=one_image((24, 0, 32, 8, 0))) == pytest.approx(1.0, rel=1e-5)
    assert cost_of({"type": "center_distance", "base": 2.0, "offset": 0.0}) == pytest.approx(2**0.5, rel=1e-5)


@pytest.mark.parametrize("name", ["focal_loss", "binary_cross_entropy", "soft_label"])
def test_logits_of_any_size_cost_a_finite_sum(name):
    for logit in (-120.0, 120.0, 1e4):
        predictions = one(objectness=torch.tensor([[logit]]))
        predictions.logits[...] = torch.tensor([logit, -logit, logit])
        assert math.isfinite(cost_of(name, predictions))


PAIR = (
    Predictions(torch.tensor([[[-0.5, -1.0]]]), torch.tensor([[[0.3, 0.3, 0.7, 0.7]]])),
    Targets(
        torch.tensor([[[0.38, 0.32, 0.74, 0.76]]]), torch.tensor([[0]]), torch.tensor([[True]]), sizes=torch.ones(1, 2)
    ),
)
"""Boxes (.5, .5, .4, .4) and (.56, .54, .36, .44) as centre, width and height, GIoU .590218."""


@pytest.mark.parametrize(
    ("costs", "wanted"),
    [
        ({"focal": 2.0, "l1": 5.0, "giou": 2.0}, -0.193091),
        ({"focal": 2.0, "l1": 5.0, "giou": {"weight": 2.0, "eps": 1e-6}}, -0.193085),
        ({"alignment": {"eps": 1e-6}}, -0.055029),
        (
            {
                "focal": {"weight": 2.0, "eps": 1e-12, "twice": True},
                "l1": {"weight": 5.0, "layout": "xyxy"},
                "giou": 2.0,
            },
            -0.612233,
        ),
        (
            {"position_focal": {"weight": 2.0, "eps": 1e-6}, "l1": 5.0, "giou": {"weight": 2.0, "eps": 1e-6}},
            1.806915 - 2.0,
        ),
        ({"iou": {"eps": 0.5}}, -0.1216 / 0.6968),
    ],
    ids=["usual", "detrex", "rank_detr", "ddq", "stable_dino", "iou"],
)
def test_a_pair_costs_what_is_published(costs, wanted):
    terms = COSTS.build_weighted(costs).values()
    assert sum(weight * term(*PAIR) for term, weight in terms).item() == pytest.approx(wanted, abs=2e-6)


def two_objects_of_a_class(company):
    """A query that fits the first of two objects, one class both; the second image holds another object of that class."""
    boxes = torch.tensor([[[0.0, 0.0, 0.5, 0.5], [0.5, 0.5, 1.0, 1.0]], [company, [0.0] * 4]])
    mask = torch.tensor([[True, True], [True, False]])
    targets = Targets(boxes, torch.zeros(2, 2).long(), mask, sizes=torch.ones(2, 2))
    return Predictions(torch.zeros(2, 1, 1), boxes[:1, :1].expand(2, 1, 4)), targets


def test_a_pair_is_judged_by_its_own_boxes_and_not_by_those_of_its_class():
    """P is .5; the own factor is 1 where boxes are equal, and the root of (1 - 1/2) / 2 where they share a corner."""
    for company in ([0.0, 0.0, 0.5, 0.5], [0.4, 0.0, 0.5, 0.1]):
        cost = COSTS.build("position_focal")(*two_objects_of_a_class(company))[0, 0]
        probability = torch.tensor([0.5, 0.25])
        torch.testing.assert_close(cost, FocalCost().of(probability), atol=1e-6, rtol=0)


def test_the_originals_positions_are_those_of_the_last_object_of_the_class_in_the_batch():
    original = COSTS.build({"type": "position_focal", "position": "last_of_class"})
    near, far = (
        original(*two_objects_of_a_class(company))[0, 0] for company in ([0.0, 0.0, 0.5, 0.5], [0.5, 0.5, 1.0, 1.0])
    )
    torch.testing.assert_close(near, FocalCost().of(torch.tensor([0.5, 0.5])), atol=1e-6, rtol=0)
    torch.testing.assert_close(far, near, atol=1e-6, rtol=0)  # the largest of the image is scaled to 1 again
    with pytest.raises(ValueError, match="position: expected one of own, last_of_class, got 'first'"):
        COSTS.build({"type": "position_focal", "position": "first"})


def test_a_layout_of_boxes_is_one_of_two():
    with pytest.raises(ValueError, match="layout: expected one of cxcywh, xyxy, got 'xywh'"):
        COSTS.build({"type": "l1", "layout": "xywh"})
