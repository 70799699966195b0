import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.random_batches import law

from detassign.assigners.boxes import (
    area,
    boxes_from_distances,
    center,
    centerness,
    ciou,
    covered_share,
    giou,
    intersection,
    iou,
    iou_or_gap,
    relative_giou,
    relative_l1,
    side_distances,
    squares,
    strictly_inside,
)

SQUARE = torch.tensor([0.0, 0.0, 2.0, 2.0])


@pytest.mark.parametrize(
    ("other", "overlap", "union", "enclosing"),
    [
        ([0.0, 0.0, 2.0, 2.0], 4.0, 4.0, 4.0),
        ([1.0, 0.0, 3.0, 2.0], 2.0, 6.0, 6.0),
        ([1.0, 1.0, 3.0, 3.0], 1.0, 7.0, 9.0),
        ([4.0, 0.0, 6.0, 2.0], 0.0, 8.0, 12.0),
        ([2.0, 0.0, 4.0, 2.0], 0.0, 8.0, 8.0),
    ],
)
def test_iou_and_giou_are_these(other, overlap, union, enclosing):
    other = torch.tensor(other)
    assert intersection(SQUARE, other) == overlap
    torch.testing.assert_close(iou(SQUARE, other), torch.tensor(overlap / union))
    generalised = overlap / union - (enclosing - union) / enclosing
    torch.testing.assert_close(giou(SQUARE, other), torch.tensor(generalised))
    torch.testing.assert_close(iou_or_gap(SQUARE, other), torch.tensor(overlap / union if overlap else generalised - 1))


@given(seed=st.integers(0, 10_000))
@law
def test_giou_lies_between_minus_one_and_iou_and_both_are_symmetric(seed):
    corners = torch.rand(2, 50, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 100
    first, second = torch.cat([corners[..., :2], corners[..., :2] + corners[..., 2:]], -1)
    assert (giou(first, second) <= iou(first, second) + 1e-12).all()
    assert (giou(first, second) >= -1).all()
    torch.testing.assert_close(giou(first, second), giou(second, first))
    torch.testing.assert_close(iou(first, second), iou(second, first))
    torch.testing.assert_close(giou(first, first), torch.ones(50, dtype=torch.float64))


def test_giou_has_the_gradient_of_its_value():
    corners = torch.rand(2, 20, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 50
    boxes, others = torch.cat([corners[..., :2], corners[..., :2] + corners[..., 2:] + 1], -1)
    assert torch.autograd.gradcheck(giou, (boxes.requires_grad_(), others.requires_grad_()))


def test_boxes_without_area_overlap_nothing():
    point, inverted = torch.tensor([1.0, 1.0, 1.0, 1.0]), torch.tensor([2.0, 2.0, 0.0, 0.0])
    for box in (point, inverted):
        assert iou(box, SQUARE) == 0
        assert iou(box, box) == 0
        assert giou(box, SQUARE).isfinite()


def test_area_center_and_squares_are_these():
    assert area(torch.tensor([1.0, 2.0, 4.0, 4.0])) == 6
    assert center(torch.tensor([1.0, 2.0, 4.0, 4.0])).tolist() == [2.5, 3.0]
    assert squares(torch.tensor([[4.0, 12.0]]), torch.tensor([8.0])).tolist() == [[0.0, 8.0, 8.0, 16.0]]


def test_distances_and_boxes_are_inverse_and_in_the_order_left_top_right_bottom():
    point, box = torch.tensor([3.0, 4.0]), torch.tensor([1.0, 1.0, 10.0, 20.0])
    assert side_distances(point, box).tolist() == [2.0, 3.0, 7.0, 16.0]
    assert boxes_from_distances(point, side_distances(point, box)).tolist() == box.tolist()


@pytest.mark.parametrize(
    ("point", "inside"), [((1.0, 1.0), True), ((0.0, 1.0), False), ((2.0, 1.0), False), ((3.0, 1.0), False)]
)
def test_a_point_on_a_side_is_not_inside(point, inside):
    assert strictly_inside(torch.tensor(point), SQUARE).item() is inside


def test_covered_share_is_the_share_of_the_first_box():
    assert covered_share(SQUARE, torch.tensor([1.0, 0.0, 100.0, 100.0])) == 0.5
    assert covered_share(torch.tensor([1.0, 1.0, 1.0, 1.0]), SQUARE) == 0


@pytest.mark.parametrize(
    ("distances", "value"),
    [
        ([3.0, 3.0, 3.0, 3.0], 1.0),
        ([1.0, 2.0, 4.0, 2.0], 0.5),
        ([1.0, 1.0, 4.0, 4.0], 0.25),
        ([0.0, 2.0, 4.0, 2.0], 0.0),
        ([-1.0, 2.0, 4.0, 2.0], 0.0),
        ([-5.0, -5.0, -15.0, -15.0], 0.0),
        ([-5.0, -5.0, 15.0, 15.0], 0.0),
        ([0.0, 0.0, 0.0, 0.0], 0.0),
    ],
)
def test_centerness_is_fcos_inside_and_zero_outside(distances, value):
    assert centerness(torch.tensor(distances)) == value


@pytest.mark.parametrize("eps", [0.0, 1e-6])
def test_relative_giou_keeps_small_boxes_apart_and_is_finite_for_boxes_without_area(eps):
    small = torch.tensor([0.5, 0.5, 0.5001, 0.5001])
    assert relative_giou(small, small, eps).item() == pytest.approx(1e-8 / (1e-8 + eps), rel=1e-2)
    points = torch.tensor([[0.1, 0.1, 0.1, 0.1], [0.3, 0.2, 0.3, 0.2], [0.9, 0.9, 0.2, 0.1], [0.1, 0.2, 0.1, 0.4]])
    values = relative_giou(points[:, None], points, eps)
    assert values.isfinite().all()
    assert ((values >= -1) & (values <= 0)).all()


def test_relative_l1_is_of_centre_and_size():
    distance = relative_l1(torch.tensor([0.0, 0.0, 0.4, 0.2]), torch.tensor([0.1, 0.0, 0.3, 0.4]))
    assert distance.item() == pytest.approx(0.0 + 0.1 + 0.2 + 0.2)


def test_complete_iou_is_the_iou_less_far_centres_and_other_shapes():
    box = torch.tensor([0.0, 0.0, 4.0, 4.0])
    assert ciou(box, box).item() == pytest.approx(1.0)
    moved = torch.tensor([2.0, 0.0, 6.0, 4.0])  # IoU 1/3, centres 2 apart, enclosed by 6 x 4
    assert ciou(box, moved).item() == pytest.approx(1 / 3 - 4 / 52)
    flat = torch.tensor([0.0, 1.0, 4.0, 3.0])  # IoU 1/2, same centre
    shape = 4 / math.pi**2 * (math.atan(2) - math.atan(1)) ** 2
    assert ciou(box, flat).item() == pytest.approx(0.5 - shape**2 / (0.5 + shape))
    assert ciou(flat, box).item() == ciou(box, flat).item()


def test_complete_iou_is_finite_for_boxes_without_area():
    point, line = torch.tensor([1.0, 1.0, 1.0, 1.0]), torch.tensor([0.0, 1.0, 4.0, 1.0])
    predicted = torch.stack([point, line, line]).requires_grad_()
    value = ciou(predicted, torch.stack([point, point, line]))
    value.sum().backward()
    assert value.isfinite().all()
    assert predicted.grad.isfinite().all()
