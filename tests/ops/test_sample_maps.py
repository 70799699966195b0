from functools import partial
from itertools import product

import numpy as np
import pytest
import torch
from support.golden import cases, missing
from torch import Tensor

from detassign.ops import extension_status, sample_maps, sample_maps_reference

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
SHAPES = [(2, 3, 6, 7), (1, 4, 1, 5), (3, 1, 5, 1), (1, 1, 1, 1)]
BORDERS = ["zeros", "clamp"]
FORMS = [sample_maps, sample_maps_reference]

compiled = pytest.mark.skipif(
    not extension_status()["cpu"].loaded, reason=f"the compiled op is not loaded: {extension_status()['cpu'].error}"
)


def sample_inputs(
    shape: tuple[int, ...], dtype: torch.dtype = torch.float64, device: str = "cpu", spread: float = 2.0
) -> tuple[Tensor, Tensor]:
    """Maps and offsets that reach well outside the map, with gradients asked for."""
    generator = torch.Generator().manual_seed(sum(shape))
    B, K, H, W = shape
    maps = torch.randn(shape, generator=generator, dtype=torch.float64)
    offsets = torch.randn((B, K, 2, H, W), generator=generator, dtype=torch.float64) * spread
    return tuple(value.to(device, dtype).requires_grad_() for value in (maps, offsets))


def value_and_gradients(function, maps: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    value = function(maps, offsets)
    upstream = torch.linspace(-1, 2, value.numel(), device=value.device).view_as(value).to(value.dtype)
    return value, *torch.autograd.grad(value, (maps, offsets), upstream)


def as_deform_conv2d(maps: Tensor, offsets: Tensor) -> Tensor:
    torchvision = pytest.importorskip("torchvision", reason="torchvision, whose deform_conv2d is compared, is missing")
    weight = torch.ones(maps.shape[1], 1, 1, 1, dtype=maps.dtype, device=maps.device)
    return torchvision.ops.deform_conv2d(maps, offsets.flatten(1, 2), weight)


def sampled_by_hand(maps: Tensor, offsets: Tensor, border: str) -> Tensor:
    """One cell at a time, four neighbours at a time."""
    output = torch.zeros_like(maps)
    H, W = maps.shape[2:]
    for b, k, i, j in product(*map(range, maps.shape)):
        y, x = i + offsets[b, k, 0, i, j].item(), j + offsets[b, k, 1, i, j].item()
        if border == "clamp":
            y, x = min(max(y, 0), H - 1), min(max(x, 0), W - 1)
        for row, column in product((int(np.floor(y)), int(np.floor(y)) + 1), (int(np.floor(x)), int(np.floor(x)) + 1)):
            if 0 <= row < H and 0 <= column < W:
                output[b, k, i, j] += maps[b, k, row, column] * (1 - abs(y - row)) * (1 - abs(x - column))
    return output


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("shape", SHAPES)
def test_value_is_the_bilinear_mean_of_the_four_neighbours(form, border, shape):
    maps, offsets = (value.detach() for value in sample_inputs(shape))
    torch.testing.assert_close(form(maps, offsets, border=border), sampled_by_hand(maps, offsets, border))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("whole", [False, True], ids=["between_cells", "on_cells"])
@pytest.mark.parametrize("shape", SHAPES)
def test_zero_border_equals_depthwise_deform_conv2d_in_value_and_gradients(form, whole, shape):
    maps, offsets = sample_inputs(shape)
    offsets = offsets.detach().round().requires_grad_() if whole else offsets
    expected = value_and_gradients(as_deform_conv2d, maps, offsets)
    for got, want in zip(value_and_gradients(form, maps, offsets), expected, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_kernel_equals_the_reference_in_value_and_gradients(device, border, shape, dtype):
    maps, offsets = sample_inputs(shape, dtype, device)
    expected = value_and_gradients(partial(sample_maps_reference, border=border), maps, offsets)
    for got, want in zip(
        value_and_gradients(partial(sample_maps, border=border), maps, offsets), expected, strict=True
    ):
        assert got.dtype == dtype
        torch.testing.assert_close(got, want)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("border", BORDERS)
def test_gradients_equal_finite_differences(form, border):
    inputs = sample_inputs((1, 2, 3, 4), spread=1.5)
    assert torch.autograd.gradcheck(partial(form, border=border), inputs)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("shape", [(0, 2, 3, 4), (2, 0, 3, 4), (2, 2, 0, 4), (2, 2, 3, 0)])
def test_empty_maps_give_empty_samples_and_gradients(form, border, shape):
    maps, offsets = sample_inputs(shape)
    value, grad_maps, grad_offsets = value_and_gradients(partial(form, border=border), maps, offsets)
    assert (value.shape, grad_maps.shape, grad_offsets.shape) == (shape, shape, offsets.shape)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_location_that_is_not_finite_gives_zero_and_no_gradient(form, border, bad):
    maps, offsets = torch.ones(1, 1, 2, 2, requires_grad=True), torch.zeros(1, 1, 2, 2, 2)
    offsets[0, 0, 1, 0, 0] = bad
    value, grad_maps, grad_offsets = value_and_gradients(partial(form, border=border), maps, offsets.requires_grad_())
    assert value.flatten().tolist() == [0, 1, 1, 1]
    assert grad_maps[0, 0, 0, 0] == 0
    assert grad_offsets[0, 0, :, 0, 0].tolist() == [0, 0]
    assert grad_offsets.isfinite().all()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("far", [1e30, -1e30, 3e9])
def test_location_far_outside_is_zero_or_the_nearest_cell(form, far):
    maps, offsets = torch.tensor([[[[1.0, 2.0]]]]), torch.zeros(1, 1, 2, 1, 2)
    offsets[:, :, 1] = far
    assert form(maps, offsets).flatten().tolist() == [0, 0]
    assert form(maps, offsets, border="clamp").flatten().tolist() == [2, 2] if far > 0 else [1, 1]


@pytest.mark.parametrize("form", FORMS)
def test_clamped_coordinate_has_no_gradient_and_the_other_one_keeps_its_own(form):
    maps = torch.tensor([[[[1.0, 3.0], [5.0, 9.0]]]])
    offsets = torch.zeros(1, 1, 2, 2, 2)
    offsets[0, 0, :, 0, 0] = torch.tensor([-4.0, 0.5])
    grad = torch.autograd.grad(form(maps, offsets.requires_grad_(), border="clamp")[0, 0, 0, 0], offsets)[0]
    assert grad[0, 0, :, 0, 0].tolist() == [0, 2]


@pytest.mark.parametrize("form", FORMS)
def test_any_strides_give_the_same_samples(form):
    maps, offsets = (value.detach() for value in sample_inputs((2, 4, 6, 7)))
    expected = form(maps, offsets)
    strided = offsets.permute(2, 4, 3, 1, 0).contiguous().permute(4, 3, 0, 2, 1)
    assert torch.equal(form(maps.to(memory_format=torch.channels_last), strided), expected)
    assert torch.equal(form(maps[:1].expand_as(maps), offsets)[:1], expected[:1])


@pytest.mark.parametrize("form", FORMS)
def test_mixed_dtypes_run_in_the_wider_one_also_under_autocast(form):
    maps, offsets = sample_inputs((1, 2, 5, 6), torch.float32)
    half = offsets.detach().bfloat16()
    expected = form(maps, half.float())
    with torch.autocast("cpu", torch.bfloat16):
        autocast = form(maps, half)
    assert autocast.dtype == torch.float32
    assert torch.equal(autocast, expected)
    assert torch.equal(form(maps, half), expected)


@pytest.mark.parametrize("form", FORMS)
def test_half_precision_locations_are_not_rounded_to_half(form):
    maps = torch.zeros(1, 1, 1, 3000, dtype=torch.float16)
    maps[..., 2501] = 1
    offsets = torch.zeros(1, 1, 2, 1, 3000, dtype=torch.float16)
    offsets[..., 1, :, 2501] = 0.25  # float16 counts in steps of two from 2048 on
    assert form(maps, offsets)[0, 0, 0, 2501] == 0.75


def test_threads_do_not_change_one_bit():
    maps, offsets = sample_inputs((4, 4, 60, 60), torch.float32)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = value_and_gradients(sample_maps, maps, offsets)
        torch.set_num_threads(4)
        together = value_and_gradients(sample_maps, maps, offsets)
    finally:
        torch.set_num_threads(threads)
    assert all(map(torch.equal, alone, together))


@pytest.mark.skipif("cuda" not in DEVICES, reason="no GPU is visible")
def test_deterministic_algorithms_repeat_every_bit_on_cuda():
    maps, offsets = sample_inputs((2, 2, 64, 64), torch.float32, "cuda", spread=20.0)
    torch.use_deterministic_algorithms(True)
    try:
        first, second = (value_and_gradients(sample_maps, maps, offsets) for _ in range(2))
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(map(torch.equal, first, second))


@compiled
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("clamp", [False, True])
@pytest.mark.parametrize("shape", [(2, 3, 6, 7), (2, 0, 3, 4)])
def test_opcheck_finds_nothing(device, clamp, shape):
    maps, offsets = sample_inputs(shape, torch.float32, device)
    ops = torch.ops.detassign
    assert set(torch.library.opcheck(ops.sample_maps.default, (maps, offsets, clamp)).values()) == {"SUCCESS"}
    backward = (maps.detach(), maps.detach(), offsets.detach(), clamp)
    assert set(torch.library.opcheck(ops.sample_maps_backward.default, backward).values()) == {"SUCCESS"}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dynamic", [False, True])
def test_compiles_without_a_graph_break(form, dynamic):
    maps, offsets = sample_inputs((2, 3, 6, 7))
    squared = torch.compile(lambda *args: form(*args).square(), fullgraph=True, backend="aot_eager", dynamic=dynamic)
    expected = value_and_gradients(lambda *args: form(*args).square(), maps, offsets)
    for got, want in zip(value_and_gradients(squared, maps, offsets), expected, strict=True):
        torch.testing.assert_close(got, want)


def test_meta_tensors_give_the_shape():
    maps, offsets = (value.to("meta") for value in sample_inputs((2, 3, 6, 7)))
    assert sample_maps(maps, offsets).shape == (2, 3, 6, 7)


@compiled
def test_vmap_says_what_to_do_instead():
    with pytest.raises(RuntimeError, match="does not run under vmap: its first dimension is the batch"):
        torch.vmap(sample_maps)(torch.ones(2, 1, 1, 3, 3), torch.zeros(2, 1, 1, 2, 3, 3))


@compiled
def test_second_derivative_is_refused_by_the_kernel_and_given_by_the_reference():
    maps, offsets = sample_inputs((1, 1, 3, 3))
    first = torch.autograd.grad(sample_maps(maps, offsets).square().sum(), maps, create_graph=True)[0]
    with pytest.raises(RuntimeError, match="sample_maps has no second derivative"):
        torch.autograd.grad(first.sum(), maps)
    assert torch.autograd.gradgradcheck(lambda m: sample_maps_reference(m, offsets.detach()).square(), (maps,))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("maps", "offsets", "border", "message"),
    [
        (
            torch.ones(3, 4, 4),
            torch.ones(3, 2, 4, 4),
            "zeros",
            r"maps to be of shape \(B, K, H, W\) but got \(3, 4, 4\)",
        ),
        (torch.ones(1, 3, 4, 4), torch.ones(1, 3, 4, 4), "zeros", r"offsets to be of shape \(1, 3, 2, 4, 4\) but got"),
        (
            torch.ones(1, 1, 2, 2).long(),
            torch.ones(1, 1, 2, 2, 2),
            "zeros",
            "maps to be floating point but got torch.int64",
        ),
        (
            torch.ones(1, 1, 2, 2),
            torch.ones(1, 1, 2, 2, 2).int(),
            "zeros",
            "offsets to be floating point but got torch.int32",
        ),
        (
            torch.ones(1, 1, 2, 2),
            torch.ones(1, 1, 2, 2, 2, device="meta"),
            "zeros",
            "device of maps, cpu, but got meta",
        ),
        (torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2, 2), "wrap", "border to be one of zeros, clamp but got 'wrap'"),
    ],
    ids=["maps_shape", "offsets_shape", "maps_dtype", "offsets_dtype", "device", "border"],
)
def test_bad_argument_is_named(form, maps, offsets, border, message):
    with pytest.raises(ValueError, match=message):
        form(maps, offsets, border=border)


@compiled
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.ones(3, 4, 4), torch.ones(3, 2, 4, 4)), r"maps of shape \(B, K, H, W\) but got \(3, 4, 4\)"),
        ((torch.ones(1, 3, 4, 4), torch.ones(1, 3, 2, 4, 5)), r"shape \(1, 3, 4, 4\) but got \(1, 3, 2, 4, 5\)"),
        ((torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2, 2).double()), "of one dtype"),
    ],
    ids=["maps_shape", "offsets_shape", "dtype"],
)
def test_raw_op_refuses_what_would_read_outside_memory(arguments, message):
    with pytest.raises(RuntimeError, match=message):
        torch.ops.detassign.sample_maps(*arguments, False)


@compiled
def test_raw_backward_refuses_a_gradient_of_another_shape():
    with pytest.raises(RuntimeError, match=r"grad of shape \(1, 1, 2, 2\) but got \(1, 1, 2, 3\)"):
        torch.ops.detassign.sample_maps_backward(
            torch.ones(1, 1, 2, 3), torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2, 2), False
        )


def depthwise(case):
    """A recorded convolution samples one place for each channel, and that is all it does but for its weight."""
    config, channels = case.config, case.arrays["input/x"].shape[1]
    plain = config["kernel"] == config["stride"] == [1, 1] and config["padding"] == [0, 0]
    plain = plain and not config["modulated"] and not config["bias"]
    return plain and config["groups"] == config["offset_groups"] == channels


RECORDED = [p for p in cases("dense", "op_deform_conv2d_*") if p.values[0] and depthwise(p.values[0])]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", RECORDED or missing("no recorded depthwise deformable convolution of one place"))
def test_golden_depthwise_deform_conv2d(form, case):
    maps, offsets = case.leaf("input/x"), case.tensor("input/offset").unflatten(1, (-1, 2)).requires_grad_()
    output = form(maps, offsets) * case.tensor("input/weight")[:, 0]
    grad_maps, grad_offsets = torch.autograd.grad(output, (maps, offsets), case.tensor("input/upstream_grad"))
    case.check("output/y", output)
    case.check("grad/x", grad_maps)
    case.check("grad/offset", grad_offsets.flatten(1, 2))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", cases("dense", "dw_refine_*"))
def test_golden_boundary_sampling_of_box_refinement(form, case):
    boxes, offsets = case.levels("intermediate/decoded_boxes"), case.levels("intermediate/sampling_offset")
    for level, (level_boxes, level_offsets) in enumerate(zip(boxes, offsets, strict=True)):
        sampled = form(level_boxes, level_offsets.unflatten(1, (4, 2)))
        case.check(f"intermediate/sampled_boxes/{level}", sampled)
