"""What no model gives: nothing at all, odd sizes, far and broken numbers, torn strides. `make asan` runs this sanitized."""

from itertools import product

import pytest
import torch
from torch import Tensor

from detassign.ops import (
    deform_conv2d,
    deform_conv2d_reference,
    linear_assignment,
    linear_assignment_reference,
    ms_deform_attn,
    ms_deform_attn_reference,
    sample_maps,
    sample_maps_reference,
)
from detassign.ops.deform_conv2d import deform_conv2d_backward
from detassign.ops.ms_deform_attn import ms_deform_attn_backward

NAN, INF = float("nan"), float("inf")
HOSTILE = torch.tensor([NAN, INF, -INF, 3e38, -3e38, 1e30, -1e30, 2.0**31, -(2.0**31), 1e-45, -0.0, 0.0, 1.0, -1.0])
DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]


@pytest.fixture(params=[1, 2], autouse=True)
def threads(request):
    """Each test with one thread and with two."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def spoilt(tensor: Tensor, share: float, seed: int) -> Tensor:
    """The tensor with about this share of its numbers replaced by hostile ones."""
    kind = torch.randint(len(HOSTILE), tensor.shape, generator=generator(seed))
    hit = torch.rand(tensor.shape, generator=generator(seed + 1)) < share
    return torch.where(hit, HOSTILE.to(tensor.dtype)[kind], tensor)


def torn(tensor: Tensor) -> Tensor:
    """The same numbers, every second element of an allocation whose last axis comes first."""
    room = torch.full((*tensor.shape[-1:], *tensor.shape[:-1], 2), NAN).to(tensor.dtype)
    view = room[..., 0].movedim(0, -1)
    return view.copy_(tensor)


def attention(sizes: tuple[int, ...], levels: list[list[int]], dtype: torch.dtype, seed: int = 0) -> list[Tensor]:
    """The five arguments; some locations in and around the maps, some on their very edges, some hostile.

    None on the centre of a pixel: there the gradient of the location is one-sided, and either side will do.
    """
    B, Q, H, D, P = sizes
    shapes = torch.tensor(levels, dtype=torch.long).view(-1, 2)
    ends = shapes.prod(1).cumsum(0)
    wide = torch.promote_types(dtype, torch.float32)
    locations = torch.rand((B, Q, H, len(shapes), P, 2), generator=generator(seed), dtype=wide) * 1.6 - 0.3
    edges = torch.randint(-2, 11, locations.shape, generator=generator(seed + 1)).to(wide)
    edges = edges / shapes.flip(1).clamp(min=1)[None, None, None, :, None]
    on_edge = torch.rand(locations.shape, generator=generator(seed + 2)) < 0.3
    locations = spoilt(torch.where(on_edge, edges, locations), 0.1, seed + 3)
    value = torch.randn((B, int(shapes.prod(1).sum()), H, D), generator=generator(seed + 4)).to(dtype)
    weights = torch.rand(locations.shape[:-1], generator=generator(seed + 5), dtype=wide)
    return [value, shapes, ends - shapes.prod(1), locations, weights]


def attention_results(form, value, shapes, starts, locations, weights) -> list[Tensor]:
    leaves = [tensor.detach().requires_grad_() for tensor in (value, locations, weights)]
    output = form(leaves[0], shapes, starts, *leaves[1:])
    return [output.detach(), *torch.autograd.grad(output, leaves, torch.ones_like(output))]


def check_attention(arguments: list[Tensor]) -> None:
    tolerance = {torch.float64: 1e-9, torch.float32: 1e-4}.get(arguments[0].dtype, 2e-2)
    want = attention_results(ms_deform_attn_reference, *arguments)
    for got in (
        attention_results(ms_deform_attn, *arguments),
        attention_results(ms_deform_attn, *map(torn, arguments)),
    ):
        for one, other in zip(got, want, strict=True):
            torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance * 10)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [1, 3, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 71])
def test_attention_of_any_channels_at_hostile_locations_equals_the_reference(channels, dtype):
    check_attention(attention((2, 11, 3, channels, 3), [[5, 7], [1, 9], [6, 1], [1, 1]], dtype, seed=channels))


@pytest.mark.parametrize("levels", [[], [[0, 5]], [[3, 0], [2, 2]], [[1, 1]]], ids=str)
@pytest.mark.parametrize("sizes", list(product((0, 1), (0, 2), (0, 1), (0, 5), (0, 3))), ids=str)
def test_attention_of_nothing_equals_the_reference(sizes, levels):
    check_attention(attention(sizes, levels, torch.float32))


@pytest.mark.parametrize(("queries", "points"), [(700, 1), (33, 70), (1, 200), (65, 2)])
def test_attention_of_many_queries_or_points_equals_the_reference(queries, points):
    check_attention(attention((1, queries, 1, 32, points), [[9, 8], [3, 3]], torch.float32))


def test_attention_with_levels_that_share_cells_or_leave_the_last_out():
    arguments = attention((1, 40, 1, 19, 4), [[4, 4], [4, 4], [2, 2]], torch.float32)
    for starts in ([0, 0, 0], [20, 4, 0], [20, 20, 32]):
        check_attention([*arguments[:2], torch.tensor(starts), *arguments[3:]])


@pytest.mark.parametrize("dtype", DTYPES)
def test_attention_passes_broken_values_and_weights_only_on_to_who_reads_them(dtype):
    value, shapes, starts, locations, weights = attention((2, 9, 2, 33, 3), [[4, 4]], dtype)
    broken = spoilt(value, 0.2, 1), shapes, starts, locations, spoilt(weights, 0.2, 2)
    outside = broken[3] * 0 + 5
    output = ms_deform_attn(*broken[:3], outside, broken[4])
    assert output.count_nonzero() == 0
    gradients = ms_deform_attn_backward(torch.full_like(output, NAN), *broken[:3], outside, broken[4])
    assert [int(gradient.count_nonzero()) for gradient in gradients] == [0, 0, 0]
    assert attention_results(ms_deform_attn, *broken)[0].shape == output.shape


def check_assignment(cost: Tensor, rows: Tensor, columns: Tensor) -> None:
    want = linear_assignment_reference(cost, rows, columns)
    for got in (linear_assignment(cost, rows, columns), linear_assignment(torn(cost), torn(rows), torn(columns))):
        for b in range(len(cost)):
            count = min(int(rows[b]), int(columns[b]))
            row, column = got.row[b, :count], got.column[b, :count]
            assert (row.diff() > 0).all()
            assert len(column.unique()) == count
            assert ((row >= 0) & (row < rows[b]) & (column >= 0) & (column < columns[b])).all()
            assert (got.row[b, count:] == -1).all()
            assert (got.column[b, count:] == -1).all()
            assert torch.equal(got.not_finite[b, :count], ~cost[b, row, column].isfinite())
        assert torch.equal(got.not_finite.sum(1), want.not_finite.sum(1))
        torch.testing.assert_close(finite_total(cost, got), finite_total(cost, want), rtol=1e-12, atol=0)


def finite_total(cost: Tensor, assignment) -> Tensor:
    """(B,) float64, of costs brought down to where they add up without overflow."""
    problem, row, column = assignment.pairs()
    matched = cost[problem, row, column].double() * 2.0**-64
    matched = torch.where(matched.isfinite(), matched, 0)
    return torch.zeros(len(cost), dtype=torch.float64).index_add(0, problem, matched)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("share", [0.0, 0.1, 0.6, 1.0])
@pytest.mark.parametrize(("N", "M"), [(1, 1), (1, 9), (9, 1), (7, 7), (5, 40), (40, 5), (33, 34), (65, 17)])
def test_assignment_of_broken_costs_is_a_matching_as_good_as_the_reference(N, M, share, dtype):
    cost = torch.randn((6, N, M), generator=generator(N)).to(dtype)
    broken = torch.tensor([NAN, INF, -INF]).to(dtype)[torch.randint(3, cost.shape, generator=generator(M))]
    cost = torch.where(torch.rand(cost.shape, generator=generator(N + M)) < share, broken, cost)
    rows = torch.randint(N + 1, (6,), generator=generator(1))
    columns = torch.randint(M + 1, (6,), generator=generator(2))
    rows[0], columns[0] = N, M
    check_assignment(cost, rows, columns)


@pytest.mark.parametrize("shape", list(product((0, 1, 3), (0, 1, 2), (0, 1, 4))), ids=str)
def test_assignment_of_nothing_equals_the_reference(shape):
    cost = torch.zeros(shape)
    sizes = [torch.full(shape[:1], size) for size in shape[1:]]
    check_assignment(cost, *sizes)
    check_assignment(cost, sizes[0] * 0, sizes[1])


def test_assignment_of_ties_and_of_costs_at_the_ends_of_their_range():
    for numbers in ([0.0], [1.0, 1.0 + 1e-7], [3e38, -3e38, 0.0], [1e-45, 0.0, 1.0]):
        choice = torch.randint(len(numbers), (8, 21, 34), generator=generator(len(numbers)))
        cost = torch.tensor(numbers)[choice]
        check_assignment(cost, torch.full((8,), 21), torch.full((8,), 34))
        check_assignment(cost.mT, torch.full((8,), 34), torch.full((8,), 21))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("border", ["zeros", "clamp"])
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 3, 1, 17), (1, 2, 33, 1), (3, 4, 13, 29)], ids=str)
def test_map_sampling_at_hostile_offsets_equals_the_reference(shape, border, dtype):
    B, K, H, W = shape
    maps = torch.randn(shape, generator=generator(1)).to(dtype)
    offsets = torch.randint(-3, 4, (B, K, 2, H, W), generator=generator(2)) / 2
    offsets = spoilt(offsets.to(dtype), 0.2, 3)
    want = map_results(sample_maps_reference, maps, offsets, border)
    for arguments in ((maps, offsets), (torn(maps), torn(offsets))):
        for one, other in zip(map_results(sample_maps, *arguments, border), want, strict=True):
            tolerance = 2e-2 if dtype.itemsize == 2 else 1e-5
            torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


def map_results(form, maps: Tensor, offsets: Tensor, border: str) -> list[Tensor]:
    leaves = [maps.detach().requires_grad_(), offsets.detach().requires_grad_()]
    output = form(*leaves, border=border)
    return [output.detach(), *torch.autograd.grad(output, leaves, torch.ones_like(output))]


@pytest.mark.parametrize("border", ["zeros", "clamp"])
@pytest.mark.parametrize("shape", list(product((0, 2), (0, 3), (0, 4), (0, 5))), ids=str)
def test_map_sampling_of_nothing_gives_nothing(shape, border):
    B, K, H, W = shape
    got = map_results(sample_maps, torch.zeros(shape), torch.zeros(B, K, 2, H, W), border)
    assert [tensor.shape for tensor in got] == [shape, shape, (B, K, 2, H, W)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("share", [0.0, 0.3])
@pytest.mark.parametrize(
    ("channels", "groups", "offset_groups"),
    [(1, 1, 1), (6, 2, 3), (33, 1, 1), (64, 1, 2), (72, 3, 1), (130, 1, 1), (256, 2, 1)],
)
def test_deformable_convolution_at_hostile_offsets_equals_the_reference(channels, groups, offset_groups, share, dtype):
    shapes = ((2, channels, 5, 7), (2, 12 * offset_groups, 6, 4), (2 * groups, channels // groups, 2, 3))
    input, offset, weight = (torch.randn(shape, generator=generator(1)).to(dtype) for shape in shapes)
    mask = torch.randn((2, 6 * offset_groups, 6, 4), generator=generator(2)).to(dtype)
    offset = spoilt((offset * 4).round() / 2, share, 3)
    want = convolution_results(deform_conv2d_reference, input, offset, weight, mask)
    for tensors in ((input, offset, weight, mask), map(torn, (input, offset, weight, mask))):
        for one, other in zip(convolution_results(deform_conv2d, *tensors), want, strict=True):
            tolerance = {torch.float64: 1e-9, torch.float32: 1e-4}.get(dtype, 2e-2)
            torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance * 10)


def convolution_results(form, *tensors: Tensor) -> list[Tensor]:
    input, offset, weight, mask = leaves = [tensor.detach().requires_grad_() for tensor in tensors]
    output = form(input, offset, weight, stride=(1, 2), padding=(1, 2), dilation=(1, 2), mask=mask)
    return [output.detach(), *torch.autograd.grad(output, leaves, torch.ones_like(output))]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_deformable_convolution_passes_broken_numbers_only_on_to_who_reads_them(dtype):
    input, weight = torch.full((1, 40, 3, 3), NAN, dtype=dtype), torch.ones(2, 40, 1, 1, dtype=dtype)
    outside, mask = torch.full((1, 2, 3, 3), 9.0, dtype=dtype), torch.full((1, 1, 3, 3), NAN, dtype=dtype)
    assert deform_conv2d(input, outside, weight, mask=mask).count_nonzero() == 0
    grad = torch.full((1, 2, 3, 3), INF, dtype=dtype)
    found = deform_conv2d_backward(grad, input, outside, weight, mask=mask)
    assert [int(gradient.count_nonzero()) for gradient in (found.input, found.offset, found.mask)] == [0, 0, 0]
