import pytest
import torch

from detassign.heads import BoxRefinement
from detassign.heads.points import level_points
from detassign.heads.refinement import boundary_offsets

STRIDE = 8


def refine(distances, border, height=4, width=4):
    """Refined distances where the learned part of the offsets is zero."""
    module = BoxRefinement(2, border)
    torch.nn.init.zeros_(module.reg_offset.weight)
    points = level_points(height, width, STRIDE, like=distances)
    return module(torch.zeros(1, 2, height, width), distances, points, STRIDE)


def test_where_all_cells_predict_one_box_refining_changes_nothing():
    points = level_points(4, 4, STRIDE, torch.zeros(()))
    box = torch.tensor([2.0, 2.0, 30.0, 30.0])
    distances = torch.cat([points - box[:2], box[2:] - points], -1).permute(2, 0, 1)[None]
    torch.testing.assert_close(refine(distances, "clamp"), distances)


def test_each_side_is_read_one_cell_towards_it():
    """Boxes of one stride to each side: every side moves by one stride, the neighbour's box being shifted by so much."""
    refined = refine(torch.full((1, 4, 4, 4), 8.0), "clamp")
    assert refined[0, :, 1:3, 1:3].unique().tolist() == [16.0]


@pytest.mark.parametrize(("border", "left", "right"), [("zeros", 4.0, 0.0), ("clamp", 8.0, 8.0)])
def test_a_side_beyond_the_map_reads_zero_or_the_nearest_cell(border, left, right):
    """Zero pulls it to the origin: 4 px left of the first column's points, and past those of the last."""
    refined = refine(torch.full((1, 4, 4, 4), 8.0), border)
    assert refined[0, 0, :, 0].unique().tolist() == [left]
    assert refined[0, 1, 0].unique().tolist() == [left]
    assert refined[0, 2, :, -1].unique().tolist() == [right]
    assert refined[0, 3, -1].unique().tolist() == [right]


def test_offsets_are_row_then_column_and_point_at_the_boundary():
    learned = torch.arange(8.0).view(1, 8, 1, 1) / 10
    distances = torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, 4, 1, 1)
    offsets = boundary_offsets(learned, distances)[0, :, :, 0, 0]
    expected = [[0.0, 0.1 - 1], [0.2 - 2, 0.3], [0.4, 0.5 + 3], [0.6 + 4, 0.7]]
    torch.testing.assert_close(offsets, torch.tensor(expected))


def test_nothing_is_detached():
    module = BoxRefinement(2)
    feature = torch.randn(1, 2, 4, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    distances = torch.full((1, 4, 4, 4), 7.0, requires_grad=True)
    module(feature, distances, level_points(4, 4, STRIDE, feature), STRIDE).sum().backward()
    for tensor in (feature, distances, module.reg_offset.weight, module.reg_offset.bias):
        assert tensor.grad.count_nonzero() > 0
        assert tensor.grad.isfinite().all()


def test_refined_distances_are_never_negative():
    distances = 20 * torch.rand(2, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    points = level_points(4, 4, STRIDE, distances)
    refined = BoxRefinement(2)(torch.randn(2, 2, 4, 4), distances, points, STRIDE)
    assert (refined >= 0).all()


def test_an_unknown_border_is_refused():
    with pytest.raises(ValueError, match="border: expected"):
        BoxRefinement(2, "reflect")
