import math

import pytest
import torch
from support.small import one_image, pyramid

from detassign.assigners import QUALITIES, ExpGIoU, Matches, PowerIoU, PredictedIoU
from detassign.assigners.quality import predicted_iou

TARGETS = one_image((0.0, 0.0, 2.0, 2.0, 0))
MATCHES = Matches(torch.zeros(3, dtype=torch.long), torch.arange(3), torch.zeros(3, dtype=torch.long), torch.ones(3))
BOXES = [[0.0, 0.0, 2.0, 2.0], [1.0, 0.0, 3.0, 2.0], [4.0, 0.0, 6.0, 2.0]]  # IoU 1, 1/3, 0; GIoU 1, 1/3, -1/3


def predictions(boxes=BOXES, **parts):
    return pyramid((1, 3, 2), boxes=torch.tensor([boxes], requires_grad=True), **parts)


@pytest.mark.parametrize(
    ("quality", "values"),
    [
        (ExpGIoU(), [1.0, math.exp(-10 / 3), math.exp(-20 / 3)]),
        (ExpGIoU(scale=1.0), [1.0, math.exp(-2 / 3), math.exp(-4 / 3)]),
        (PowerIoU(), [1.0, 3.0**-5, 0.0]),
        (PowerIoU(beta=1.0), [1.0, 1 / 3, 0.0]),
    ],
)
def test_qualities_of_boxes_are_these(quality, values):
    found = quality(predictions(), TARGETS, MATCHES)
    assert found.tolist() == pytest.approx(values)
    assert not found.requires_grad


def test_a_predicted_quality_is_the_power_of_the_objectness():
    objectness = torch.tensor([[0.0, math.log(3), -200.0]])
    found = PredictedIoU(beta=2.0)(predictions(objectness=objectness), TARGETS, MATCHES)
    assert found.tolist() == pytest.approx([0.25, 0.5625, 0.0])


def test_a_predicted_quality_needs_objectness_and_says_so():
    assert PredictedIoU.needs == {"objectness"}
    with pytest.raises(ValueError, match="objectness: the quality predicted_iou needs it, got None"):
        PredictedIoU()(predictions(objectness=None), TARGETS, MATCHES)


@pytest.mark.parametrize("name", list(QUALITIES))
def test_what_is_no_number_has_no_quality(name):
    spoiled = predictions(
        [[torch.nan] * 4, [0.0, 0.0, 2.0, torch.nan], BOXES[0]], objectness=torch.tensor([[torch.nan] * 3])
    )
    found = QUALITIES.build(name)(spoiled, TARGETS, MATCHES)
    assert found.isfinite().all()
    assert found[:2].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("name", list(QUALITIES))
def test_quality_lies_between_zero_and_one(name):
    generator = torch.Generator().manual_seed(0)
    boxes = (torch.randn(3, 4, generator=generator) * 1e3).tolist()
    found = QUALITIES.build(name)(predictions(boxes, objectness=torch.tensor([[9.0, 0.0, -9.0]])), TARGETS, MATCHES)
    assert ((found >= 0) & (found <= 1)).all()


def test_the_iou_of_pairs_is_detached_and_a_broken_box_overlaps_nothing():
    overlap = predicted_iou(
        predictions([[torch.nan] * 4, [-torch.inf, 0.0, torch.inf, 2.0], BOXES[1]]), TARGETS, MATCHES
    )
    assert overlap.tolist() == pytest.approx([0.0, 0.0, 1 / 3])
    assert not overlap.requires_grad
