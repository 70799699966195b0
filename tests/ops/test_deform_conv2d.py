import re
from functools import partial
from importlib import import_module
from itertools import product
from math import floor

import pytest
import torch
import torch.nn.functional as F
from support.golden import cases
from torch import Tensor

from detassign.ops import MissingKernelWarning, deform_conv2d, deform_conv2d_reference, extension_status
from detassign.ops._deform_conv2d_torchvision import convolve, differentiate, serves
from detassign.ops.deform_conv2d import deform_conv2d_backward
from detassign.ops.deform_conv2d_geometry import Geometry, steps

FORMS = [deform_conv2d, deform_conv2d_reference]
NAMES = ("input", "offset", "weight", "bias", "mask")
# images, channels, maps, outputs, kernel, groups, offset groups, stride, padding, dilation
SHAPES = {
    "plain": (2, 3, (6, 7), 4, (3, 3), 1, 1, 1, 1, 1),
    "groups": (2, 12, (5, 9), 6, (3, 2), 3, 2, (2, 1), (0, 2), (1, 2)),
    "offset groups within groups": (1, 16, (7, 4), 4, (2, 3), 2, 4, 1, (1, 2), 1),
    "groups across offset groups": (1, 6, (5, 4), 4, (2, 2), 2, 3, 1, 1, 1),
    "depthwise": (1, 6, (4, 4), 6, (3, 3), 6, 1, 1, 1, 1),
    "wide": (1, 160, (4, 5), 32, (2, 2), 1, 2, 1, 0, 1),
    "one cell": (1, 1, (1, 1), 1, (1, 1), 1, 1, 1, 0, 1),
    "strided off the map": (1, 2, (3, 3), 2, (3, 3), 1, 1, 3, 4, 2),
}

compiled = pytest.mark.skipif(
    not extension_status()["cpu"].loaded, reason=f"the compiled op is not loaded: {extension_status()['cpu'].error}"
)


def arguments(name: str, dtype: torch.dtype = torch.float64, modulated: bool = True, spread: float = 2.0):
    """Leaves by name, of which offsets reach well outside the map, and the geometry."""
    images, channels, size, outputs, kernel, groups, offset_groups, *numbers = SHAPES[name]
    geometry = Geometry(*((number, number) if isinstance(number, int) else number for number in numbers))
    generator = torch.Generator().manual_seed(len(name))
    maps = (images, offset_groups * kernel[0] * kernel[1], *steps(size, kernel, geometry))
    shapes = {
        "input": (images, channels, *size),
        "offset": (images, 2 * maps[1], *maps[2:]),
        "weight": (outputs, channels // groups, *kernel),
        "bias": (outputs,),
        "mask": maps,
    }
    leaves = {key: torch.randn(shape, generator=generator, dtype=torch.float64) for key, shape in shapes.items()}
    leaves["offset"] *= spread
    if not modulated:
        del leaves["mask"], leaves["bias"]
    return {key: leaf.to(dtype).requires_grad_() for key, leaf in leaves.items()}, geometry._asdict()


def output_and_gradients(form, leaves: dict[str, Tensor], geometry) -> list[Tensor]:
    output = form(**leaves, **geometry)
    upstream = torch.linspace(-1, 2, output.numel()).view(output.shape).to(output)
    return [output, *torch.autograd.grad(output, list(leaves.values()), upstream)]


def read(plane: list[list[float]], y: float, x: float) -> float:
    total = 0.0
    for row, column in product((floor(y), floor(y) + 1), (floor(x), floor(x) + 1)):
        if 0 <= row < len(plane) and 0 <= column < len(plane[0]):
            total += plane[row][column] * (1 - abs(y - row)) * (1 - abs(x - column))
    return total


def convolved_by_hand(input, offset, weight, bias, mask, stride, padding, dilation) -> Tensor:
    """One output, one tap, one channel at a time."""
    output = bias.view(1, -1, 1, 1).expand(len(input), -1, *offset.shape[2:]).clone()
    O, channels, kh, kw = weight.shape  # noqa: E741
    groups, offset_groups = input.shape[1] // channels, offset.shape[1] // (2 * kh * kw)
    for b, o, i, j, c, k, m in product(*map(range, (*output.shape, channels, kh, kw))):
        channel = o // (O // groups) * channels + c
        tap = (channel // (input.shape[1] // offset_groups) * kh + k) * kw + m
        y = i * stride[0] - padding[0] + k * dilation[0] + offset[b, 2 * tap, i, j].item()
        x = j * stride[1] - padding[1] + m * dilation[1] + offset[b, 2 * tap + 1, i, j].item()
        output[b, o, i, j] += weight[o, c, k, m] * mask[b, tap, i, j] * read(input[b, channel].tolist(), y, x)
    return output


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", [name for name in SHAPES if name != "wide"])
def test_value_is_the_masked_weighted_sum_of_bilinear_samples(form, name):
    leaves, geometry = arguments(name)
    leaves = {key: leaf.detach() for key, leaf in leaves.items()}
    torch.testing.assert_close(form(**leaves, **geometry), convolved_by_hand(**leaves, **geometry))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("modulated", [False, True])
@pytest.mark.parametrize("name", SHAPES)
def test_value_and_gradients_are_torchvisions_between_cells(form, name, modulated):
    torchvision = pytest.importorskip("torchvision", reason="torchvision, whose deform_conv2d is compared, is missing")
    leaves, geometry = arguments(name, modulated=modulated)
    expected = output_and_gradients(torchvision.ops.deform_conv2d, leaves, geometry)
    for got, want in zip(output_and_gradients(form, leaves, geometry), expected, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("form", FORMS)
def test_without_offsets_it_is_the_plain_convolution(form):
    leaves, geometry = arguments("groups", modulated=False, spread=0.0)
    expected = F.conv2d(leaves["input"], leaves["weight"], groups=3, **geometry)
    torch.testing.assert_close(form(**leaves, **geometry), expected)


@pytest.mark.parametrize("whole", [False, True], ids=["between_cells", "on_cells"])
@pytest.mark.parametrize("modulated", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", SHAPES)
def test_kernel_equals_the_reference_in_value_and_gradients(name, dtype, modulated, whole):
    leaves, geometry = arguments(name, dtype, modulated)
    if whole:
        leaves["offset"] = leaves["offset"].detach().round().requires_grad_()
    expected = output_and_gradients(deform_conv2d_reference, leaves, geometry)
    for got, want in zip(output_and_gradients(deform_conv2d, leaves, geometry), expected, strict=True):
        assert got.dtype == dtype
        torch.testing.assert_close(got, want, **({"rtol": 1e-4, "atol": 1e-4} if dtype == torch.float32 else {}))


@compiled
def test_more_positions_than_are_sampled_at_once_equal_the_reference():
    generator = torch.Generator().manual_seed(3)
    shapes = ((2, 128, 40, 41), (2, 18, 40, 41), (8, 128, 3, 3))  # blocks of 788 positions, the last one smaller
    leaves = [torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_() for shape in shapes]
    expected, got = (
        output_and_gradients(form, dict(zip(NAMES, leaves, strict=False)), {"padding": 1})
        for form in (deform_conv2d_reference, deform_conv2d)
    )
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("modulated", [False, True])
@pytest.mark.parametrize("name", ["plain", "groups", "strided off the map"])
def test_gradients_equal_finite_differences(form, name, modulated):
    leaves, geometry = arguments(name, modulated=modulated, spread=0.7)
    keys = list(leaves)
    convolve = lambda *tensors: form(**dict(zip(keys, tensors, strict=True)), **geometry)  # noqa: E731
    assert torch.autograd.gradcheck(convolve, tuple(leaves.values()), fast_mode=True)


@pytest.mark.parametrize(
    "frozen", [("weight", "bias"), ("input", "offset", "mask"), ("input",), ("mask", "weight")], ids=" ".join
)
def test_frozen_arguments_leave_the_gradients_of_the_others_as_they_are(frozen):
    leaves, geometry = arguments("groups")
    expected = dict(zip(leaves, output_and_gradients(deform_conv2d, leaves, geometry)[1:], strict=True))
    given = {key: leaf.detach() if key in frozen else leaf for key, leaf in leaves.items()}
    output = deform_conv2d(**given, **geometry)
    upstream = torch.linspace(-1, 2, output.numel()).view(output.shape).to(output)
    wanted = [key for key in leaves if key not in frozen]
    for key, got in zip(wanted, torch.autograd.grad(output, [leaves[key] for key in wanted], upstream), strict=True):
        torch.testing.assert_close(got, expected[key])


@pytest.mark.parametrize("form", [*FORMS, "torchvision"])
def test_a_sample_a_whole_cell_outside_has_neither_value_nor_gradient(form):
    """mmcv's rule, which torchvision does not keep for the gradient of the offset."""
    leaves, geometry = arguments("plain", spread=0.0)  # padding 1: the border's samples lie at -1 or at the size
    if form == "torchvision":
        gradient = through_torchvision(leaves, geometry)[2]
    else:
        gradient = output_and_gradients(form, leaves, geometry)[2]
    by_tap = gradient.view(2, 3, 3, 2, 6, 7)
    assert (by_tap[:, 0, :, :, 0] == 0).all()
    assert (by_tap[:, :, 2, :, :, -1] == 0).all()
    assert (by_tap[:, 1, 1] != 0).any()


def through_torchvision(leaves, geometry) -> list[Tensor]:
    """Output and gradients of what serves a GPU, here on the host, in the order of ``output_and_gradients``."""
    pytest.importorskip("torchvision", reason="torchvision, which serves a GPU, is missing")
    input, offset, weight, bias, mask = (leaf.detach() for leaf in leaves.values())
    output = convolve(input, weight, offset, mask, Geometry(**geometry)) + bias.view(-1, 1, 1)
    upstream = torch.linspace(-1, 2, output.numel()).view(output.shape).to(output)
    found = differentiate(upstream, input, weight, offset, mask, Geometry(**geometry))
    of_input, of_weight, of_offset, of_mask = found
    return [output, of_input, of_offset, of_weight, upstream.sum((0, 2, 3)), of_mask]


@pytest.mark.parametrize("hostile", [False, True])
@pytest.mark.parametrize("name", SHAPES)
def test_what_serves_a_gpu_equals_the_kernel(name, hostile):
    leaves, geometry = arguments(name)
    offset = leaves["offset"].detach().clone()
    if hostile:
        bad = torch.tensor([torch.nan, torch.inf, -torch.inf, 1e30, -1.0, 0.0, 1.0]).double()
        offset.flatten()[::3] = bad.repeat(offset.numel())[: offset.flatten()[::3].numel()]
        leaves["offset"] = offset.requires_grad_()
    expected = output_and_gradients(deform_conv2d, leaves, geometry)
    torch.testing.assert_close(through_torchvision(leaves, geometry), expected, rtol=1e-10, atol=1e-10)
    assert all(tensor.isfinite().all() for tensor in expected)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 1e30, -3e9])
def test_far_or_broken_locations_give_nothing_whatever_their_mask(form, bad):
    leaves = {"input": torch.ones(1, 1, 2, 2), "offset": torch.zeros(1, 2, 2, 2), "weight": torch.ones(1, 1, 1, 1)}
    leaves |= {"mask": torch.ones(1, 1, 2, 2)}
    leaves["offset"][0, 1, 0, 0], leaves["mask"][0, 0, 0, 0] = bad, float("nan")
    leaves = {key: leaf.requires_grad_() for key, leaf in leaves.items()}
    output, *gradients = output_and_gradients(form, leaves, {})
    assert output.flatten().tolist() == [0, 1, 1, 1]
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert gradients[1][0, :, 0, 0].tolist() == [0, 0]
    assert gradients[0][0, 0, 0, 0] == gradients[3][0, 0, 0, 0] == 0


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("input", [(0, 4, 5, 5), (2, 4, 0, 5), (2, 4, 5, 0), (2, 4, 0, 0)])
@pytest.mark.parametrize("outputs", [0, 2])
def test_no_images_no_maps_and_no_outputs_give_what_the_shapes_say(form, input, outputs):
    geometry = Geometry((1, 1), (2, 2), (1, 1))
    size = (input[0], 9, *steps(input[2:], (3, 3), geometry))
    leaves = {"input": torch.ones(input), "offset": torch.zeros(size).repeat(1, 2, 1, 1)}
    leaves |= {"weight": torch.ones(outputs, 2, 3, 3), "bias": torch.ones(outputs), "mask": torch.ones(size)}
    leaves = {key: leaf.requires_grad_() for key, leaf in leaves.items()}
    output, *gradients = output_and_gradients(form, leaves, geometry._asdict())
    assert output.shape == (input[0], outputs, *size[2:])
    assert [gradient.shape for gradient in gradients] == [leaf.shape for leaf in leaves.values()]
    if 0 in input[2:]:
        assert (output == 1).all()


@pytest.mark.parametrize("form", FORMS)
def test_any_strides_give_the_same_output(form):
    leaves, geometry = arguments("groups")
    expected = output_and_gradients(form, leaves, geometry)
    torn = {key: leaf.detach().movedim(0, -1).contiguous().movedim(-1, 0) for key, leaf in leaves.items()}
    torn["input"] = torn["input"].to(memory_format=torch.channels_last)
    torn = {key: leaf.requires_grad_() for key, leaf in torn.items()}
    for got, want in zip(output_and_gradients(form, torn, geometry), expected, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("form", FORMS)
def test_arithmetic_is_in_the_widest_dtype_and_at_least_in_float32_also_under_autocast(form):
    leaves, geometry = arguments("plain", torch.float32)
    half = {key: leaf.detach().bfloat16() for key, leaf in leaves.items()}
    expected = form(**{key: leaf.float() for key, leaf in half.items()}, **geometry)
    with torch.autocast("cpu", torch.bfloat16):
        output = form(**half, **geometry)
    assert torch.equal(output, expected.bfloat16())
    mixed = form(**(half | {"offset": leaves["offset"].detach().double()}), **geometry)
    assert mixed.dtype == torch.bfloat16


@compiled
@pytest.mark.parametrize("name", ["wide", "groups"])
def test_threads_change_no_sample_and_no_scattered_gradient(name):
    """The matrix products are the library's, and may be summed in another order."""
    leaves, geometry = arguments(name)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = output_and_gradients(deform_conv2d, leaves, geometry)
        torch.set_num_threads(4)
        together = output_and_gradients(deform_conv2d, leaves, geometry)
    finally:
        torch.set_num_threads(threads)
    for one, other in zip(alone, together, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@compiled
def test_threads_change_no_bit_of_many_samples_in_one_cell():
    """Depthwise and of one tap, the products of columns have one summand each; that of the weight is left out."""
    generator = torch.Generator().manual_seed(0)
    size, groups, channels = (32, 32), 2, 128
    input, upstream = torch.randn(2, 1, channels, *size, generator=generator)
    weight, mask = (
        torch.randn(channels, 1, 1, 1, generator=generator),
        torch.rand(1, groups, *size, generator=generator),
    )
    places = torch.stack(torch.meshgrid(*map(torch.arange, size), indexing="ij"))
    targets = 7 + 2 * torch.rand(1, groups, 2, *size, generator=generator)  # of all positions within nine cells
    leaves = [leaf.requires_grad_() for leaf in (input, (targets - places).flatten(1, 2), mask)]
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 4):
            torch.set_num_threads(count)
            output = deform_conv2d(*leaves[:2], weight, mask=mask)
            found.append([output, *torch.autograd.grad(output, leaves, upstream)])
    finally:
        torch.set_num_threads(threads)
    assert (found[0][1] != 0).flatten(2).sum(2).max() == 9
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)


@compiled
@pytest.mark.parametrize("modulated", [False, True])
@pytest.mark.parametrize("asked", [(True, True), (True, False), (False, True)])
def test_opcheck_finds_nothing(modulated, asked):
    leaves, geometry = arguments("groups", torch.float32, modulated)
    tensors = [leaves["input"], leaves["weight"], leaves["offset"], leaves.get("mask")]
    numbers = [list(pair) for pair in geometry.values()]
    ops = torch.ops.detassign
    assert set(torch.library.opcheck(ops.deform_conv2d.default, (*tensors, *numbers)).values()) == {"SUCCESS"}
    given = [tensor if tensor is None else tensor.detach() for tensor in tensors]
    grad = torch.ones_like(ops.deform_conv2d(*given, *numbers))
    backward = (grad, *given, *numbers, *asked)
    assert set(torch.library.opcheck(ops.deform_conv2d_backward.default, backward).values()) == {"SUCCESS"}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dynamic", [False, True])
def test_compiles_without_a_graph_break(form, dynamic):
    leaves, geometry = arguments("groups")
    squared = lambda **tensors: form(**tensors, **geometry).square()  # noqa: E731
    whole = torch.compile(squared, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    expected = output_and_gradients(squared, leaves, {})
    for got, want in zip(output_and_gradients(whole, leaves, {}), expected, strict=True):
        torch.testing.assert_close(got, want)


def test_meta_tensors_give_the_shape():
    leaves, geometry = arguments("groups")
    output = deform_conv2d(**{key: leaf.to("meta") for key, leaf in leaves.items()}, **geometry)
    assert output.shape == deform_conv2d(**leaves, **geometry).shape


@compiled
def test_vmap_says_what_to_do_instead():
    leaves, geometry = arguments("plain", modulated=False)
    convolve = partial(deform_conv2d, **geometry)
    with pytest.raises(RuntimeError, match="does not run under vmap: its first dimension is the batch"):
        torch.vmap(convolve)(*(leaf.detach()[None] for leaf in leaves.values()))


@compiled
def test_second_derivative_is_refused_by_the_kernel_and_given_by_the_reference():
    leaves, geometry = arguments("one cell", spread=0.3)
    output = deform_conv2d(**leaves, **geometry).square().sum()
    first = torch.autograd.grad(output, leaves["input"], create_graph=True)[0]
    with pytest.raises(RuntimeError, match="deform_conv2d has no second derivative"):
        torch.autograd.grad(first.sum(), leaves["input"])
    others = {key: leaf.detach() for key, leaf in leaves.items() if key != "input"}
    squared = lambda maps: deform_conv2d_reference(maps, **others, **geometry).square()  # noqa: E731
    assert torch.autograd.gradgradcheck(squared, (leaves["input"],))


BAD = {
    "input": (torch.ones(3, 4, 4), r"input to be of shape \(B, C, H, W\) but got \(3, 4, 4\)"),
    "weight": (torch.ones(4, 5, 3, 3), r"for the 12 channels of input but got \(4, 5, 3, 3\)"),
    "offset": (torch.ones(2, 30, 3, 8), r"\(B, offset_groups \* 12, Ho, Wo\), .* divides 12, but got \(2, 30, 3, 8\)"),
    "mask": (torch.ones(2, 12, 2, 8), r"mask to be of shape \(2, 12, 2, 11\) but got \(2, 12, 2, 8\)"),
    "bias": (torch.ones(5), r"bias to be of shape \(6,\) but got \(5,\)"),
    "stride": ((1, 0), r"stride to be one or two integers, at least 1, but got \(1, 0\)"),
    "padding": (-1, "padding to be one or two integers, at least 0, but got -1"),
    "stride of half cells": (1.5, "stride to be one or two integers, at least 1, but got 1.5"),
    "padding of none": (None, "padding to be one or two integers, at least 0, but got None"),
    "padding of a truth": (True, "padding to be one or two integers, at least 0, but got True"),
    "dilation with a truth": ((1, True), r"dilation to be one or two integers, at least 1, but got \(1, True\)"),
    "dilation": ((1, 2, 3), r"dilation to be one or two integers, at least 1, but got \(1, 2, 3\)"),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", BAD)
def test_bad_argument_is_named(form, name):
    leaves, geometry = arguments("groups", torch.float32)
    value, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        form(**{**leaves, **geometry, name.split()[0]: value})


@pytest.mark.parametrize("form", FORMS)
def test_integers_other_devices_and_kernels_too_large_are_refused(form):
    leaves, geometry = arguments("groups", torch.float32)
    with pytest.raises(ValueError, match=r"mask to be floating point but got torch\.int64"):
        form(**{**leaves, **geometry, "mask": leaves["mask"].long()})
    with pytest.raises(ValueError, match="offset on the device of input, cpu, but got meta"):
        form(**{**leaves, **geometry, "offset": leaves["offset"].to("meta")})
    with pytest.raises(ValueError, match=r"a kernel that fits on the padded input but got 3 x 2, dilation \(9, 9\)"):
        form(**{**leaves, **geometry, "dilation": 9})


@compiled
@pytest.mark.parametrize("name", ["input", "weight", "offset", "mask", "stride"])
def test_raw_op_refuses_what_would_read_outside_memory(name):
    leaves, geometry = arguments("groups", torch.float32)
    given = {**leaves, **geometry} | {name: BAD[name][0]}
    tensors = [given[key] for key in ("input", "weight", "offset", "mask")]
    with pytest.raises(RuntimeError, match="deform_conv2d: expected"):
        torch.ops.detassign.deform_conv2d(*tensors, *(list(given[key]) for key in geometry))


@compiled
def test_raw_op_refuses_other_dtypes_and_sizes_that_overflow():
    leaves, geometry = arguments("plain", torch.float32, modulated=False)
    input, offset, weight = (leaf.detach() for leaf in leaves.values())
    numbers = [list(pair) for pair in geometry.values()]
    op = torch.ops.detassign.deform_conv2d
    with pytest.raises(RuntimeError, match="of the input's dtype and device"):
        op(input, weight, offset.double(), None, *numbers)
    with pytest.raises(RuntimeError, match=r"maps of 65536 x 65536 are too large"):
        op(input[:, :, :1, :1].expand(-1, -1, 65536, 65536), weight, offset, None, *numbers)
    with pytest.raises(RuntimeError, match=r"a kernel of 65536 x 65536 is too large"):
        op(input, weight[:, :, :1, :1].expand(-1, -1, 65536, 65536), offset, None, *numbers)
    with pytest.raises(RuntimeError, match=r"below 2 \*\* 31"):
        op(input, weight, offset, None, [2**40, 1], *numbers[1:])
    with pytest.raises(RuntimeError, match="does not fit on the padded input"):
        op(input, weight, offset, None, *numbers[:2], [2**30, 1])
    for stride, dilation in ((2, 4), (8, 7), (2**31 - 1, 2**30)):  # maps of 6 x 7 and a kernel of 3 x 3, padding 1
        short = offset[:, :, :1, :1]
        with pytest.raises(RuntimeError, match="does not fit on the padded input"):
            op(input, weight, short, None, [stride, stride], [1, 1], [dilation, dilation])


@compiled
def test_raw_backward_refuses_a_gradient_of_another_shape_or_dtype():
    leaves, geometry = arguments("plain", torch.float32, modulated=False)
    input, offset, weight = (leaf.detach() for leaf in leaves.values())
    numbers = [list(pair) for pair in geometry.values()]
    backward = partial(torch.ops.detassign.deform_conv2d_backward, of_samples=True, of_weight=True)
    with pytest.raises(RuntimeError, match=r"grad of shape \(2, 4, 6, 7\) but got \(2, 4, 6, 6\)"):
        backward(torch.ones(2, 4, 6, 6), input, weight, offset, None, *numbers)
    with pytest.raises(RuntimeError, match="grad of the input's dtype"):
        backward(torch.ones(2, 4, 6, 7).double(), input, weight, offset, None, *numbers)


def test_backward_names_a_gradient_that_does_not_fit():
    leaves, geometry = arguments("plain", torch.float32)
    given = {key: leaf.detach() for key, leaf in leaves.items() if key != "bias"} | geometry
    for bad in (torch.ones(2, 4, 6, 6), torch.ones(1, 4, 6, 7), torch.ones(2, 3, 6, 7), torch.ones(4, 6, 7)):
        message = f"grad to be of shape (2, 4, 6, 7) but got {tuple(bad.shape)}"
        with pytest.raises(ValueError, match=re.escape(message)):
            deform_conv2d_backward(bad, **given)
    with pytest.raises(ValueError, match=r"grad to be floating point but got torch\.int64"):
        deform_conv2d_backward(torch.ones(2, 4, 6, 7).long(), **given)
    with pytest.raises(ValueError, match="grad on the device of input, cpu, but got meta"):
        deform_conv2d_backward(torch.ones(2, 4, 6, 7, device="meta"), **given)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_a_bias_wider_than_all_others_is_added_in_its_own_dtype(dtype):
    leaves, geometry = arguments("plain", torch.float32)
    leaves = {key: leaf.detach() for key, leaf in leaves.items()}
    bias = leaves.pop("bias").to(dtype)
    expected = deform_conv2d(**leaves, **geometry).to(torch.promote_types(dtype, torch.float32)) + bias.view(-1, 1, 1)
    assert torch.equal(deform_conv2d(**leaves, bias=bias, **geometry), expected.float())


def test_torchvision_serves_where_its_operator_has_a_kernel(monkeypatch):
    pytest.importorskip("torchvision", reason="torchvision, whose kernels are looked for, is missing")
    assert serves(torch.device("cpu"))
    assert not serves(torch.device("meta"))
    with_gpu = torch._C._dispatch_has_kernel_for_dispatch_key("torchvision::deform_conv2d", "CUDA")
    assert serves(torch.device("cuda")) is with_gpu  # a build for the CPU alone has none
    monkeypatch.setattr(torch._C, "_dispatch_has_kernel_for_dispatch_key", lambda name, key: key == "CUDA")
    assert not serves(torch.device("cpu"))
    assert serves(torch.device("cuda"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU is visible")
@pytest.mark.parametrize("name", SHAPES)
def test_a_gpu_computes_what_the_cpu_does(name):
    leaves, geometry = arguments(name)
    far = {key: leaf.detach().cuda().requires_grad_() for key, leaf in leaves.items()}
    found, expected = (output_and_gradients(deform_conv2d, own, geometry) for own in (far, leaves))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.cpu(), other)


@pytest.mark.parametrize("has_operator", [False, True])
def test_the_warning_says_what_runs_for_the_kernels(has_operator, monkeypatch):
    if has_operator:
        pytest.importorskip("torchvision.ops", reason="torchvision, which runs then, is missing")
    module = import_module("detassign.ops.deform_conv2d")
    monkeypatch.setattr(module, "has_kernels", lambda backend: False)
    monkeypatch.setattr("detassign.ops._library._TOLD", set())
    monkeypatch.setattr("detassign.ops._deform_conv2d_torchvision.serves", lambda device: has_operator)
    leaves, geometry = arguments("one cell")
    with pytest.warns(
        MissingKernelWarning, match=f"so slower {'torchvision' if has_operator else 'pure torch'} runs in"
    ):
        deform_conv2d(**leaves, **geometry)


def test_backward_gives_none_for_what_is_not_asked():
    leaves, geometry = arguments("groups")
    expected = dict(zip(leaves, output_and_gradients(deform_conv2d, leaves, geometry)[1:], strict=True))
    given = {key: leaf.detach() for key, leaf in leaves.items() if key != "bias"}
    output = deform_conv2d(**given, **geometry)
    grad = torch.linspace(-1, 2, output.numel()).view(output.shape).to(output)
    for asked in ({"of_weight": False}, {"of_samples": False}, {}):
        found = deform_conv2d_backward(grad, **given, **geometry, **asked)._asdict()
        wanted = {key for key in given if asked.get("of_weight" if key == "weight" else "of_samples", True)}
        assert {key for key, gradient in found.items() if gradient is not None} == wanted
        for key in wanted:
            torch.testing.assert_close(found[key], expected[key])


@pytest.mark.parametrize("served", [False, True], ids=["by the reference", "by torchvision"])
@pytest.mark.parametrize("modulated", [False, True])
def test_without_the_kernels_others_serve(served, modulated, monkeypatch):
    leaves, geometry = arguments("groups", modulated=modulated)
    expected = output_and_gradients(deform_conv2d, leaves, geometry)
    monkeypatch.setattr(import_module("detassign.ops.deform_conv2d"), "_kernel_serves", lambda device: False)
    if not served:
        monkeypatch.setattr("detassign.ops._deform_conv2d_torchvision.serves", lambda device: False)
    for got, want in zip(output_and_gradients(deform_conv2d, leaves, geometry), expected, strict=True):
        torch.testing.assert_close(got, want)
    given = {key: leaf.detach() for key, leaf in leaves.items() if key != "bias"}
    grad = torch.linspace(-1, 2, expected[0].numel()).view(expected[0].shape).to(expected[0])
    found = deform_conv2d_backward(grad, **given, **geometry)._asdict()
    wanted = dict(zip(leaves, expected[1:], strict=True))
    assert {key for key, gradient in found.items() if gradient is not None} == set(given)
    for key in given:
        torch.testing.assert_close(found[key], wanted[key])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", cases("dense", "op_deform_conv2d_*"))
def test_golden(form, case):
    tensors = {"input": "x", "offset": "offset", "weight": "weight", "bias": "bias", "mask": "mask"}
    leaves = {name: case.leaf(f"input/{key}") for name, key in tensors.items() if f"input/{key}" in case}
    output = form(**leaves, **{key: case.config[key] for key in ("stride", "padding", "dilation")})
    case.check("output/y", output)
    output.backward(case.tensor("input/upstream_grad"))
    for name, key in tensors.items():
        if f"grad/{key}" in case:
            case.check(f"grad/{key}", leaves[name].grad)
