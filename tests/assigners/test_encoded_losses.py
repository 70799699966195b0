import math

import pytest
import torch
from support.small import one_image, pyramid

from detassign.assigners import DeltaLoss, LogSidesLoss, Matches


def only_pair(sample=0):
    zero = torch.zeros(1, dtype=torch.long)
    return Matches(zero, zero + sample, zero, torch.ones(1))


def distance(loss, box, target, **parts):
    predictions = pyramid((1, 1, 8), boxes=torch.tensor([[box]], dtype=torch.float32), **parts)
    return loss.of_pairs(predictions, one_image((*target, 0)), only_pair()).item()


def test_deltas_are_measured_from_the_anchor_in_deviations():
    anchor = torch.tensor([[0.0, 0.0, 10.0, 20.0]])
    found = distance(DeltaLoss(beta=1e-6), [0, 0, 10, 20], (1, 0, 11, 20), priors=anchor)
    assert found == pytest.approx(1 / 10 / 0.1, rel=1e-4)
    wider = distance(DeltaLoss(beta=1e-6), [0, 0, 10, 20], (-5, 0, 15, 20), priors=anchor)
    assert wider == pytest.approx(math.log(2) / 0.2, rel=1e-4)


def test_a_head_without_anchors_has_squares_around_its_points():
    found = distance(DeltaLoss(beta=1e-6, prior_scale=4), [0, 0, 8, 8], (1, 0, 9, 8))
    assert found == pytest.approx(1 / 32 / 0.1, rel=1e-4)


def test_logs_of_sides_are_smooth_l1_per_side():
    near, far = math.log(4 / 3), math.log(2)
    found = distance(LogSidesLoss(beta=0.5), [0, 0, 8, 8], (1, 0, 12, 8))  # the point is at 4, 4
    assert found == pytest.approx(near**2 / 2 / 0.5 + far - 0.25, rel=1e-5)


def test_an_objects_sides_are_limited_in_units():
    found = distance(LogSidesLoss(beta=1e-6), [-12, -12, 20, 20], (-1e4, -12, 20, 20))  # sides of 16 px, one unit
    assert found == pytest.approx(math.log(16), rel=1e-4)


@pytest.mark.parametrize("loss", [DeltaLoss(), LogSidesLoss()], ids=str)
def test_a_box_without_area_has_a_finite_loss_and_gradient(loss):
    predictions = pyramid((1, 1, 8), boxes=torch.tensor([[[4.0, 4.0, 4.0, 4.0]]], requires_grad=True))
    value = loss.of_pairs(predictions, one_image((0, 0, 8, 8, 0)), only_pair()).sum()
    value.backward()
    assert value.isfinite()
    assert predictions.boxes.grad.isfinite().all()
