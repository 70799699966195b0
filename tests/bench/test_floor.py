"""What attention has to move and compute, counted by hand."""

import torch

from detassign.bench import floor


def test_rows_reached_are_the_neighbours_of_any_location():
    """One sample between four cells, one on the border of the second level, one outside."""
    value, shapes, starts = torch.zeros(1, 16, 1, 8), torch.tensor([[3, 4], [2, 2]]), torch.tensor([0, 12])
    locations = torch.full((1, 2, 1, 2, 1, 2), 9.0)
    locations[0, 0, 0, 0, 0], locations[0, 1, 0, 1, 0] = torch.tensor([0.5, 0.5]), torch.tensor([0.01, 0.5])
    assert floor.rows_reached(value, shapes, starts, locations) == 4 + 2
    inputs = value, shapes, starts, locations, torch.zeros(1, 2, 1, 2, 1)
    forward = 6 * 8 * 4 + 4 * 2 * 4 + 4 * 4 + 2 * 8 * 4  # rows, locations, weights, output
    assert floor.attention_bytes(inputs) == forward
    backward = 6 * 8 * 4 + 2 * (4 * 2 * 4 + 4 * 4) + 2 * 8 * 4 + 16 * 8 * 4
    assert floor.attention_bytes(inputs, backward=True) == forward + backward


def test_every_channel_of_a_points_four_cells_is_a_multiply_add():
    """Once in the forward, twice more in the backward."""
    inputs = torch.zeros(1, 16, 2, 8), None, None, None, torch.zeros(1, 3, 2, 2, 4)
    assert floor.attention_multiply_adds(inputs) == 3 * 2 * 2 * 4 * 4 * 8
    assert floor.attention_multiply_adds(inputs, backward=True) == 3 * floor.attention_multiply_adds(inputs)
