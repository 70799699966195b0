"""Costs in parts, by hand; those of one-to-one matchings are in matching/test_hungarian.py."""

import math

import pytest
import torch
from support.small import one_image, pyramid

from detassign.assigners import COSTS

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
