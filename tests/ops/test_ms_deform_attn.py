from itertools import product

import pytest
import torch
from torch.autograd import gradcheck

from detassign.ops.ms_deform_attn import ms_deform_attn

SHAPES, STARTS = torch.tensor([[3, 4], [2, 2]]), torch.tensor([0, 12])


def inputs(dtype=torch.float64) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    value = torch.randn(2, 16, 2, 3, generator=generator)
    locations = torch.rand(2, 5, 2, 2, 2, 2, generator=generator) * 1.6 - 0.3  # some outside the maps
    weights = torch.rand(2, 5, 2, 2, 2, generator=generator)
    return value.to(dtype), locations.to(dtype), weights.to(dtype)


def attend(value, locations, weights):
    return ms_deform_attn(value, SHAPES, STARTS, locations, weights)


def pixel(level_map, y, x):
    """(height, width, D) -> (D,), zero outside."""
    inside = 0 <= y < level_map.shape[0] and 0 <= x < level_map.shape[1]
    return level_map[y, x] if inside else level_map.new_zeros(level_map.shape[2])


def slow_ms_deform_attn(value, locations, weights):
    B, Q, H, L, P, _ = locations.shape
    output = value.new_zeros(B, Q, H, value.shape[3])
    for b, q, h, level, p in product(*map(range, (B, Q, H, L, P))):
        (height, width), start = SHAPES[level].tolist(), int(STARTS[level])
        level_map = value[b, start : start + height * width, h].view(height, width, -1)
        x, y = (locations[b, q, h, level, p] * torch.tensor([width, height]) - 0.5).tolist()
        top, left = int(y // 1), int(x // 1)
        for row, column in product((top, top + 1), (left, left + 1)):
            share = (1 - abs(y - row)) * (1 - abs(x - column))
            output[b, q, h] += weights[b, q, h, level, p] * share * pixel(level_map, row, column)
    return output.flatten(2)


def test_output_equals_a_loop():
    torch.testing.assert_close(attend(*inputs()), slow_ms_deform_attn(*inputs()))


def test_gradients_are_those_of_the_attention():
    assert gradcheck(attend, tuple(tensor.requires_grad_() for tensor in inputs()))


def test_a_location_at_a_pixel_centre_reads_that_pixel():
    value = torch.arange(12.0).view(1, 12, 1, 1)
    centre = torch.tensor([(2 + 0.5) / 4, (1 + 0.5) / 3]).view(1, 1, 1, 1, 1, 2)
    output = ms_deform_attn(value, SHAPES[:1], STARTS[:1], centre, torch.ones(1, 1, 1, 1, 1))
    torch.testing.assert_close(output, torch.full((1, 1, 1), 6.0))  # row 1, column 2


def test_far_outside_the_maps_everything_is_zero():
    value, locations, weights = inputs()
    assert not attend(value, locations + 5, weights).any()


def test_permuting_queries_permutes_the_output():
    value, locations, weights = inputs()
    order = torch.tensor([3, 1, 4, 0, 2])
    permuted = attend(value, locations[:, order], weights[:, order])
    torch.testing.assert_close(permuted, attend(value, locations, weights)[:, order])


def test_levels_may_lie_in_any_order_among_the_values():
    value, locations, weights = inputs()
    moved = torch.cat((value[:, 12:], value[:, :12]), dim=1)
    output = ms_deform_attn(moved, SHAPES, torch.tensor([4, 0]), locations, weights)
    torch.testing.assert_close(output, attend(value, locations, weights))


def test_no_queries_give_an_empty_output():
    value, locations, weights = inputs()
    assert attend(value, locations[:, :0], weights[:, :0]).shape == (2, 0, 6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_16_bit_values_keep_their_dtype_and_full_precision_locations(dtype):
    value, locations, weights = inputs(torch.float32)
    output = attend(value.to(dtype), locations, weights.to(dtype))
    assert output.dtype == dtype
    expected = attend(value.to(dtype).float(), locations, weights.to(dtype).float())
    torch.testing.assert_close(output, expected.to(dtype))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("value", {"value": torch.zeros(16, 2, 3)}),
        ("spatial_shapes", {"spatial_shapes": torch.zeros(2, 3)}),
        ("level_start_index", {"level_start_index": torch.zeros(3)}),
        ("sampling_locations", {"sampling_locations": torch.zeros(2, 5, 2, 1, 2, 2)}),
        ("attention_weights", {"attention_weights": torch.zeros(2, 5, 2, 2, 3)}),
        ("spatial_shapes and level_start_index", {"level_start_index": torch.tensor([0, 13])}),
        ("spatial_shapes and level_start_index", {"spatial_shapes": torch.tensor([[3, 4], [0, 2]])}),
    ],
)
def test_an_argument_of_wrong_shape_is_named(name, change):
    value, locations, weights = inputs()
    arguments = {"value": value, "spatial_shapes": SHAPES, "level_start_index": STARTS}
    arguments |= {"sampling_locations": locations, "attention_weights": weights}
    with pytest.raises(ValueError, match=f"^{name} must"):
        ms_deform_attn(**(arguments | change))
