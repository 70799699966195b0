import torch
from support.dense import grid

from detassign.heads.points import flatten_levels, level_points


def test_points_are_cell_centres_as_x_and_y():
    points = level_points(2, 3, 8, torch.zeros(()))
    assert points.shape == (2, 3, 2)
    assert points[1, 2].tolist() == [20.0, 12.0]
    assert level_points(2, 3, 8, torch.zeros(()), offset=0.0)[1, 2].tolist() == [16.0, 8.0]


def test_points_take_the_type_of_the_prediction():
    assert level_points(1, 1, 8, torch.zeros((), dtype=torch.float64)).dtype == torch.float64


def test_levels_are_flattened_by_level_row_column():
    maps = [torch.arange(12.0).view(1, 2, 2, 3), torch.tensor([[[[100.0]], [[200.0]]]])]
    flat = flatten_levels(maps)
    assert flat.shape == (1, 7, 2)
    assert flat[0].tolist() == [[0, 6], [1, 7], [2, 8], [3, 9], [4, 10], [5, 11], [100, 200]]


def test_flattened_points_go_with_flattened_maps():
    points = torch.cat([level_points(h, w, s, torch.zeros(())).flatten(0, 1) for h, w, s in ((2, 3, 8), (1, 2, 16))])
    assert torch.equal(points, grid([(2, 3), (1, 2)], (8, 16))[0])
