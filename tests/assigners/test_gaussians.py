import math

import pytest
import torch

from detassign.assigners.gaussians import divergence, squared_center_distance, squared_wasserstein

WIDE, FAR = (
    torch.tensor([0.0, 0.0, 8.0, 4.0]),
    torch.tensor([6.0, 4.0, 10.0, 8.0]),
)  # centres (4, 2), (8, 6); 8 x 4, 4 x 4


def test_the_wasserstein_distance_adds_the_differences_of_deviations():
    assert squared_center_distance(WIDE, FAR, eps=0.0) == 16 + 16
    assert squared_wasserstein(WIDE, FAR, eps=0.0) == 32 + (4**2 + 0) / 4
    assert squared_wasserstein(WIDE, FAR, eps=3.0) == 32 + 4 + 3


def test_the_divergence_is_that_of_gaussians():
    """Of deviations (2, 2) from (4, 2), four apart in both directions."""
    wanted = 0.5 * (4 / 16 + 1 + 16 / 16 + 16 / 4 - 2 + math.log(16 / 4) + 0)
    assert divergence(WIDE, FAR).item() == pytest.approx(wanted, rel=1e-5)
    assert divergence(FAR, WIDE).item() != pytest.approx(wanted, rel=0.1)
    assert divergence(WIDE, WIDE).item() == pytest.approx(0, abs=1e-6)


def test_boxes_without_area_are_finitely_far():
    point = torch.tensor([4.0, 2.0, 4.0, 2.0])
    for measure in (divergence, squared_wasserstein, squared_center_distance):
        assert measure(point, WIDE).isfinite()
        assert measure(WIDE, point).isfinite()
        assert measure(point, point).isfinite()


def test_boxes_are_broadcast():
    assert divergence(torch.rand(3, 1, 4), torch.rand(2, 1, 5, 4)).shape == (2, 3, 5)
