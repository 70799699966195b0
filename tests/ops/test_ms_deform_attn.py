import subprocess
import sys
from itertools import product

import pytest
import torch
from support.golden import cases
from support.instruction_sets import CAPABILITIES, run_under
from torch import Tensor
from torch.autograd import gradcheck

from detassign.ops import extension_status, ms_deform_attn, ms_deform_attn_reference, portable_ops
from detassign.ops.ms_deform_attn import ms_deform_attn_backward

SHAPES, STARTS = torch.tensor([[3, 4], [2, 2]]), torch.tensor([0, 12])
FORMS = [ms_deform_attn, ms_deform_attn_reference]

compiled = pytest.mark.skipif(
    not extension_status()["cpu"].loaded, reason=f"the compiled op is not loaded: {extension_status()['cpu'].error}"
)


def inputs(dtype=torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    value = torch.randn(2, 16, 2, 3, generator=generator)
    locations = torch.rand(2, 5, 2, 2, 2, 2, generator=generator) * 1.6 - 0.3  # some outside the maps
    weights = torch.rand(2, 5, 2, 2, 2, generator=generator)
    return value.to(dtype), locations.to(dtype), weights.to(dtype)


def attend(value, locations, weights, form=ms_deform_attn):
    return form(value, SHAPES, STARTS, locations, weights)


def random_case(seed: int, dtype: torch.dtype = torch.float64, **sizes: int) -> tuple[Tensor, ...]:
    """The five arguments, of any small sizes, with locations that reach well outside the maps."""
    generator = torch.Generator().manual_seed(seed)

    def size(name: str, most: int) -> int:
        drawn = int(torch.randint(1, most + 1, (), generator=generator))
        return sizes.get(name, drawn)

    B, Q, H, L, P = (size(name, most) for name, most in zip("BQHLP", (2, 9, 3, 4, 5), strict=True))
    D = size("D", 40) if seed % 4 else sizes.get("D", (8, 16, 32, 64)[seed // 4 % 4])
    shapes = torch.randint(1, 7, (L, 2), generator=generator)
    starts = shapes.prod(1).cumsum(0) - shapes.prod(1)
    value = torch.randn(B, int(shapes.prod(1).sum()), H, D, generator=generator, dtype=torch.float64)
    locations = torch.rand(B, Q, H, L, P, 2, generator=generator, dtype=torch.float64) * 1.6 - 0.3
    weights = torch.rand(B, Q, H, L, P, generator=generator, dtype=torch.float64)
    wide = torch.promote_types(dtype, torch.float32)
    leaves = (value.to(dtype), locations.to(wide), weights.to(wide))
    value, locations, weights = (leaf.requires_grad_() for leaf in leaves)
    return value, shapes, starts, locations, weights


def output_and_gradients(form, value, shapes, starts, locations, weights) -> tuple[Tensor, ...]:
    output = form(value, shapes, starts, locations, weights)
    upstream = torch.linspace(-1, 2, output.numel(), dtype=torch.float64).view_as(output).to(output.dtype)
    return output, *torch.autograd.grad(output, (value, locations, weights), upstream)


def assert_same(got, want, **tolerance):
    for one, other in zip(got, want, strict=True):
        torch.testing.assert_close(one, other, **tolerance)


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


@pytest.mark.parametrize("form", FORMS)
def test_output_equals_a_loop(form):
    torch.testing.assert_close(attend(*inputs(), form), slow_ms_deform_attn(*inputs()))


@pytest.mark.parametrize("form", FORMS)
def test_gradients_are_those_of_the_attention(form):
    assert gradcheck(lambda *leaves: attend(*leaves, form), tuple(tensor.requires_grad_() for tensor in inputs()))


@pytest.mark.parametrize("batch", range(10))
def test_kernel_equals_the_reference_at_any_sizes_in_value_and_gradients(batch):
    for seed in range(24 * batch, 24 * (batch + 1)):
        case = random_case(seed)
        expected = output_and_gradients(ms_deform_attn_reference, *case)
        assert_same(output_and_gradients(ms_deform_attn, *case), expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_kernel_equals_the_reference_in_every_dtype(dtype):
    for seed in range(40):
        case = random_case(seed, dtype)
        got = output_and_gradients(ms_deform_attn, *case)
        assert [tensor.dtype for tensor in got] == [dtype, dtype, torch.float32, torch.float32]
        tolerance = {"rtol": 1e-4, "atol": 1e-4} if dtype == torch.float32 else {"rtol": 1e-2, "atol": 1e-2}
        assert_same(got, output_and_gradients(ms_deform_attn_reference, *case), **tolerance)


@pytest.mark.parametrize("heads", [1, 3])
@pytest.mark.parametrize("queries", [14, 15, 16])
def test_cells_are_read_in_place_or_as_copies_with_one_result(heads, queries):
    """Sixty cells, four points of a query: copies of a head's cells pay from 15 queries on, and not for one head."""
    generator = torch.Generator().manual_seed(queries)
    value = torch.randn(2, 60, heads, 20, generator=generator, dtype=torch.float64, requires_grad=True)
    locations = torch.rand(2, queries, heads, 1, 4, 2, generator=generator, dtype=torch.float64) * 1.6 - 0.3
    weights = torch.rand(2, queries, heads, 1, 4, generator=generator, dtype=torch.float64)
    levels = torch.tensor([[6, 10]]), torch.tensor([0])
    case = (value, *levels, locations.requires_grad_(), weights.requires_grad_())
    expected = output_and_gradients(ms_deform_attn_reference, *case)
    assert_same(output_and_gradients(ms_deform_attn, *case), expected, rtol=1e-9, atol=1e-11)


@compiled
@pytest.mark.parametrize("capability", CAPABILITIES)
def test_every_instruction_set_equals_the_reference(capability):
    run_under(
        capability,
        "import torch, test_ms_deform_attn as t\n"
        "for seed in range(32):\n"
        "    for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16):\n"
        "        case = t.random_case(seed, dtype)\n"
        "        got = t.output_and_gradients(t.ms_deform_attn, *case)\n"
        "        want = t.output_and_gradients(t.ms_deform_attn_reference, *case)\n"
        "        error = 1e-2 if dtype.itemsize == 2 else 1e-4 if dtype.itemsize == 4 else 1e-10\n"
        "        t.assert_same(got, want, rtol=error, atol=error)\n",
    )


@pytest.mark.parametrize("form", FORMS)
def test_a_location_at_a_pixel_centre_reads_that_pixel(form):
    value = torch.arange(12.0).view(1, 12, 1, 1)
    centre = torch.tensor([(2 + 0.5) / 4, (1 + 0.5) / 3]).view(1, 1, 1, 1, 1, 2)
    output = form(value, SHAPES[:1], STARTS[:1], centre, torch.ones(1, 1, 1, 1, 1))
    torch.testing.assert_close(output, torch.full((1, 1, 1), 6.0))  # row 1, column 2


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("away", [5.0, -5.0, 1e30, -1e30])
def test_far_outside_the_maps_everything_is_zero(form, away):
    value, locations, weights = inputs()
    assert not attend(value, locations + away, weights, form).any()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 1e30])
def test_a_sample_that_reaches_no_cell_adds_nothing_and_has_no_gradient(form, bad):
    """Not even where its weight, or the gradient of the output, is infinite."""
    value, locations, weights = inputs()
    locations[0, 0, 0, 0, 0, 1], weights[0, 0, 0, 0, 0] = bad, float("inf")
    without = weights.clone()
    without[0, 0, 0, 0, 0] = 0
    leaves = [tensor.clone().requires_grad_() for tensor in (value, locations, weights)]
    output = attend(*leaves, form)
    sane = locations.nan_to_num(posinf=0, neginf=0).clamp(-9, 9)
    torch.testing.assert_close(output, attend(value, sane, without, form))
    grad_value, grad_locations, grad_weights = torch.autograd.grad(output.sum(), leaves)
    assert grad_value.isfinite().all()
    assert grad_locations.isfinite().all()
    assert grad_locations[0, 0, 0, 0, 0].tolist() == [0, 0]
    assert grad_weights[0, 0, 0, 0, 0] == 0
    upstream = torch.zeros_like(output)
    upstream[0, 0] = float("inf")
    assert torch.autograd.grad(attend(*leaves, form), leaves[2], upstream)[0][0, 0, 0, 0, 0] == 0


@pytest.mark.parametrize("form", FORMS)
def test_values_that_are_not_finite_stay_where_they_are_read(form):
    value, locations, weights = inputs()
    value[0, 0] = float("nan")  # the top left pixel of the first image's first level
    locations = locations * 0 + 0.8
    locations[0, 0, 0, 0, 0] = 0.01
    bad = attend(value, locations, weights, form).isnan()
    assert bad[0, 0, :3].all()
    assert bad.sum() == 3


@pytest.mark.parametrize("form", FORMS)
def test_permuting_queries_permutes_the_output(form):
    value, locations, weights = inputs()
    order = torch.tensor([3, 1, 4, 0, 2])
    permuted = attend(value, locations[:, order], weights[:, order], form)
    torch.testing.assert_close(permuted, attend(value, locations, weights, form)[:, order])


@pytest.mark.parametrize("form", FORMS)
def test_levels_may_lie_in_any_order_among_the_values(form):
    value, locations, weights = inputs()
    moved = torch.cat((value[:, 12:], value[:, :12]), dim=1)
    output = form(moved, SHAPES, torch.tensor([4, 0]), locations, weights)
    torch.testing.assert_close(output, attend(value, locations, weights))


@pytest.mark.parametrize("starts", [[0, 0], [0, 8], [2, 14], [4, 0]], ids=["same", "overlap", "gaps", "swapped"])
def test_levels_may_share_values_or_leave_some_out(starts):
    leaves = [tensor.requires_grad_() for tensor in inputs()]
    padded = torch.cat((leaves[0], leaves[0][:, :4]), dim=1).detach().requires_grad_()
    case = (padded, SHAPES, torch.tensor(starts), *leaves[1:])
    assert_same(output_and_gradients(ms_deform_attn, *case), output_and_gradients(ms_deform_attn_reference, *case))


@pytest.mark.parametrize("form", FORMS)
def test_no_queries_give_an_empty_output(form):
    value, locations, weights = inputs()
    assert attend(value, locations[:, :0], weights[:, :0], form).shape == (2, 0, 6)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", "BQHP")
def test_a_dimension_of_zero_gives_zeros_and_empty_gradients(form, name):
    case = random_case(3, **{name: 0})
    output, *gradients = output_and_gradients(form, *case)
    assert not output.any()
    assert [gradient.shape for gradient in gradients] == [case[0].shape, case[3].shape, case[4].shape]
    assert not any(gradient.any() for gradient in gradients)


@pytest.mark.parametrize("form", FORMS)
def test_no_values_give_zeros(form):
    value, locations, weights = inputs()
    empty = torch.tensor([[0, 4], [3, 0]])
    assert form(value[:, :0], empty, torch.tensor([0, 0]), locations, weights).tolist() == [[[0] * 6] * 5] * 2
    none = form(value[:, :0], empty[:0], STARTS[:0], locations[:, :, :, :0], weights[:, :, :, :0])
    assert none.tolist() == [[[0] * 6] * 5] * 2


def test_any_strides_give_the_same():
    value, shapes, starts, locations, weights = (tensor.detach() for tensor in random_case(7, B=2, Q=5, H=3))
    expected = ms_deform_attn(value, shapes, starts, locations, weights)
    strided = (
        value.permute(3, 0, 2, 1).contiguous().permute(1, 3, 2, 0),
        shapes.t().contiguous().t(),
        torch.stack((starts, starts), dim=1)[:, 0],
        locations.flip(1).contiguous().flip(1).transpose(1, 4).contiguous().transpose(1, 4),
        weights.double().transpose(0, 3).contiguous().transpose(0, 3),
    )
    assert not any(tensor.is_contiguous() for tensor in (strided[0], strided[3], strided[4]))
    assert torch.equal(ms_deform_attn(*strided), expected)
    spread = value[:1].expand_as(value).detach().requires_grad_()
    assert torch.equal(ms_deform_attn(spread, shapes, starts, locations, weights)[:1], expected[:1])
    upstream = torch.ones(()).double().expand_as(expected)
    same = torch.autograd.grad(ms_deform_attn(spread, shapes, starts, locations, weights), spread, upstream)[0]
    torch.testing.assert_close(
        same, ms_deform_attn_backward(upstream, spread.detach(), shapes, starts, locations, weights)[0]
    )


@pytest.mark.parametrize("dtype", [torch.int32, torch.int16, torch.uint8])
def test_levels_are_read_from_any_integers(dtype):
    value, locations, weights = inputs()
    output = ms_deform_attn(value, SHAPES.to(dtype), STARTS.to(dtype), locations, weights)
    assert torch.equal(output, attend(value, locations, weights))


def test_threads_do_not_change_one_bit():
    case = random_case(8, torch.float32, B=2, Q=700, H=3, D=32)
    threads = torch.get_num_threads()
    try:
        results = []
        for count in (1, 2, 8):  # more than there are heads, so that they share out levels
            torch.set_num_threads(count)
            results.append(output_and_gradients(ms_deform_attn, *case))
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(map(torch.equal, results[0], other))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_16_bit_values_keep_their_dtype_and_full_precision_locations(form, dtype):
    value, locations, weights = inputs(torch.float32)
    output = attend(value.to(dtype), locations, weights.to(dtype), form)
    assert output.dtype == dtype
    expected = attend(value.to(dtype).float(), locations, weights.to(dtype).float(), form)
    torch.testing.assert_close(output, expected.to(dtype))


@pytest.mark.parametrize("form", FORMS)
def test_autocast_changes_nothing(form):
    value, locations, weights = inputs(torch.float32)
    expected = attend(value.bfloat16(), locations, weights, form)
    with torch.autocast("cpu", torch.bfloat16):
        output = attend(value.bfloat16(), locations, weights, form)
        wide = attend(value, locations, weights, form)
    assert torch.equal(output, expected)
    assert torch.equal(wide, attend(value, locations, weights, form))


@compiled
@pytest.mark.parametrize("sizes", [{}, {"Q": 0}, {"P": 0}], ids=["some", "no_queries", "no_points"])
def test_opcheck_finds_nothing(sizes):
    case = random_case(5, torch.float32, **sizes)
    ops = torch.ops.detassign
    assert set(torch.library.opcheck(ops.ms_deform_attn.default, case).values()) == {"SUCCESS"}
    detached = tuple(tensor.detach() for tensor in case)
    backward = (ms_deform_attn(*detached), *detached)
    assert set(torch.library.opcheck(ops.ms_deform_attn_backward.default, backward).values()) == {"SUCCESS"}


@compiled
@pytest.mark.parametrize("dynamic", [False, True])
def test_compiles_without_a_graph_break(dynamic):
    case = random_case(6)
    squared = torch.compile(
        lambda *args: ms_deform_attn(*args).square(), fullgraph=True, backend="aot_eager", dynamic=dynamic
    )
    expected = output_and_gradients(lambda *args: ms_deform_attn(*args).square(), *case)
    assert_same(output_and_gradients(squared, *case), expected)


@compiled
def test_vmap_says_what_to_do_instead():
    value, locations, weights = inputs()
    with pytest.raises(RuntimeError, match="does not run under vmap: its first dimension is the batch"):
        torch.vmap(attend)(value[None], locations[None], weights[None])


@compiled
def test_second_derivative_is_refused_by_the_kernel_and_given_by_gathers():
    leaves = [tensor.requires_grad_() for tensor in inputs()]
    first = torch.autograd.grad(attend(*leaves).square().sum(), leaves[2], create_graph=True)[0]
    with pytest.raises(RuntimeError, match=r"no second derivative; ms_deform_attn within portable_ops\(\), without"):
        torch.autograd.grad(first.sum(), leaves[2])
    with portable_ops():
        squared = attend(*leaves).square().sum()
    for leaf in leaves:
        first = torch.autograd.grad(squared, leaf, create_graph=True)[0]
        assert torch.autograd.grad(first.square().sum(), leaf, retain_graph=True)[0].any()


def test_reference_serves_where_the_extension_is_missing():
    code = "import sys, torch; sys.modules['detassign.ops._C'] = None\n"
    code += "from detassign.ops.ms_deform_attn import ms_deform_attn, ms_deform_attn_backward\n"
    code += "case = torch.ones(1, 1, 1, 1), torch.tensor([[1, 1]]), torch.tensor([0]), torch.full((1, 1, 1, 1, 1, 2), 0.5)\n"
    code += "case += (torch.full((1, 1, 1, 1, 1), 3.0),)\n"
    code += "print(ms_deform_attn(*case).item(), ms_deform_attn_backward(torch.ones(1, 1, 1), *case)[0].item())"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "3.0 3.0\n"


def test_meta_tensors_give_the_shape():
    value, locations, weights = (tensor.to("meta") for tensor in inputs())
    assert attend(value, locations, weights).shape == (2, 5, 6)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", cases("detr/components", "ms_deform_attn_core"))
def test_golden_attention_core(form, case):
    for name in case.sidecar["cases"]:
        arrays = {key.removeprefix(f"{name}/"): case.tensor(key) for key in case.arrays if key.startswith(f"{name}/")}
        leaves = [arrays[key].requires_grad_() for key in ("value", "sampling_locations", "attention_weights")]
        output = form(leaves[0], arrays["spatial_shapes"], arrays["level_start_index"], *leaves[1:])
        grad_value, grad_locations, grad_weights = torch.autograd.grad(output, leaves, arrays["grad_output"])
        tolerance = case.sidecar["recommended"]["float64"]
        torch.testing.assert_close(output, arrays["output"], **tolerance)
        torch.testing.assert_close(grad_value, arrays["grad_value"], **tolerance)
        torch.testing.assert_close(grad_weights, arrays["grad_attention_weights"], **tolerance)
        on_a_kink = 6  # samples, by the sidecar: one-sided there
        torch.testing.assert_close(
            grad_locations.flatten(0, 4)[on_a_kink:],
            arrays["grad_sampling_locations"].flatten(0, 4)[on_a_kink:],
            **tolerance,
        )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("value", {"value": torch.zeros(16, 2, 3)}),
        ("value", {"value": torch.zeros(2, 16, 2, 3).long()}),
        ("spatial_shapes", {"spatial_shapes": torch.zeros(2, 3)}),
        ("spatial_shapes", {"spatial_shapes": SHAPES.float()}),
        ("level_start_index", {"level_start_index": torch.zeros(3)}),
        ("level_start_index", {"level_start_index": STARTS.bool()}),
        ("sampling_locations", {"sampling_locations": torch.zeros(2, 5, 2, 1, 2, 2)}),
        ("sampling_locations", {"sampling_locations": torch.zeros(2, 5, 2, 2, 2, 2, device="meta")}),
        ("attention_weights", {"attention_weights": torch.zeros(2, 5, 2, 2, 3)}),
        ("attention_weights", {"attention_weights": torch.zeros(2, 5, 2, 2, 2).int()}),
        ("spatial_shapes and level_start_index", {"level_start_index": torch.tensor([0, 13])}),
        ("spatial_shapes and level_start_index", {"level_start_index": torch.tensor([-1, 12])}),
        ("spatial_shapes and level_start_index", {"spatial_shapes": torch.tensor([[3, 4], [-1, 2]])}),
    ],
)
def test_an_argument_of_wrong_shape_type_or_device_is_named(form, name, change):
    value, locations, weights = inputs()
    arguments = {"value": value, "spatial_shapes": SHAPES, "level_start_index": STARTS}
    arguments |= {"sampling_locations": locations, "attention_weights": weights}
    with pytest.raises(ValueError, match=f"^{name} must"):
        form(**(arguments | change))


@compiled
@pytest.mark.parametrize(
    ("position", "argument", "message"),
    [
        (0, torch.zeros(16, 2, 3), r"value of shape \(B, S, H, D\) but got \(16, 2, 3\)"),
        (1, torch.zeros(2, 3).long(), r"spatial_shapes of shape \(L, 2\) but got \(2, 3\)"),
        (1, SHAPES.int(), "spatial_shapes and level_start_index in int64"),
        (1, torch.tensor([[3, 4], [3, 2]]), "lie within the 16 values, but level 1 starts at 12 and is 3 x 2"),
        (1, torch.tensor([[3, 4], [2**62, 2**62]]), "lie within the 16 values"),
        (1, torch.tensor([[3, 4], [-1, -1]]), "lie within the 16 values"),
        (2, torch.tensor([0, 13]), "lie within the 16 values, but level 1 starts at 13 and is 2 x 2"),
        (2, torch.tensor([0, 2**63 - 1]), "lie within the 16 values"),
        (2, torch.tensor([-1, 0]), "lie within the 16 values"),
        (2, torch.tensor([0]), r"level_start_index of shape \(2,\) but got \(1\)"),
        (3, torch.zeros(2, 5, 2, 2, 2, 3), r"sampling_locations of shape \(2, Q, 2, 2, P, 2\) but got"),
        (3, torch.zeros(2, 5, 2, 2, 2, 2).double(), "in float32, or float64 where the value is"),
        (4, torch.zeros(2, 5, 2, 2, 1), "less its last axis, but got"),
    ],
)
def test_raw_op_refuses_what_would_read_outside_memory(position, argument, message):
    value, locations, weights = inputs(torch.float32)
    arguments = [value, SHAPES, STARTS, locations, weights]
    arguments[position] = argument
    with pytest.raises(RuntimeError, match=message):
        torch.ops.detassign.ms_deform_attn(*arguments)
    with pytest.raises(RuntimeError, match=message):
        torch.ops.detassign.ms_deform_attn_backward(torch.zeros(2, 5, 6), *arguments)


@compiled
@pytest.mark.parametrize(
    ("grad", "message"),
    [
        (torch.zeros(2, 5, 5), r"grad of shape \(2, 5, 6\) but got \(2, 5, 5\)"),
        (torch.zeros(2, 5, 6).double(), "grad of the value's dtype"),
    ],
)
def test_raw_backward_refuses_another_gradient(grad, message):
    value, locations, weights = inputs(torch.float32)
    with pytest.raises(RuntimeError, match=message):
        torch.ops.detassign.ms_deform_attn_backward(grad, value, SHAPES, STARTS, locations, weights)
