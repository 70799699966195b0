import itertools
import math
import warnings

import pytest
import torch
from mmcv.ops import DeformConv2d, DeformConv2dPack, ModulatedDeformConv2dPack, deform_conv2d, modulated_deform_conv2d
from support.golden import cases
from torch.autograd import gradcheck

from detassign.ops import portable_ops


def run_case(case, leaves):
    settings = [case.config[key] for key in ("stride", "padding", "dilation", "groups", "offset_groups")]
    if case.config["modulated"]:
        tensors = [leaves.get(key) for key in ("x", "offset", "mask", "weight", "bias")]
        return modulated_deform_conv2d(*tensors, *settings)
    output = deform_conv2d(leaves["x"], leaves["offset"], leaves["weight"], *settings)
    return output + leaves["bias"].view(-1, 1, 1) if "bias" in leaves else output


@pytest.mark.parametrize("case", cases("dense", "op_deform_conv2d_*"))
def test_deform_conv_equals_golden(case):
    names = [name for name in ("x", "offset", "mask", "weight", "bias") if f"input/{name}" in case]
    leaves = {name: case.leaf(f"input/{name}") for name in names}
    output = run_case(case, leaves)
    case.check("output/y", output)
    output.backward(case.tensor("input/upstream_grad"))
    for name in (name for name in names if f"grad/{name}" in case):
        case.check(f"grad/{name}", leaves[name].grad)


def test_v1_gives_the_published_result():
    """Input, weights and results of mmcv's own test."""
    layer = DeformConv2dPack(1, 1, kernel_size=2, im2col_step=2).double()
    rows = [[0.1, 0.4, 0.6, 0.1], [0.3, 0.2, 0.1, 0.3], [0.5, 0.5, 0.2, 0.8], [0.8, 0.3, 0.9, 0.1]]
    rows += [[0.3, 0.1, 0.2, 0.5], [0.3, 0.7, 0.5, 0.3], [0.6, 0.2, 0.5, 0.3], [0.4, 0.1, 0.8, 0.4]]
    layer.conv_offset.weight.data = torch.tensor(rows).double().view(8, 1, 2, 2)
    layer.conv_offset.bias.data = torch.tensor([0.7, 0.1, 0.8, 0.5, 0.6, 0.5, 0.4, 0.7]).double()
    layer.weight.data = torch.tensor([0.4, 0.2, 0.1, 0.9]).double().view(1, 1, 2, 2)
    x = torch.tensor([[1.0, 2, 3], [0, 1, 2], [3, 5, 2]]).double().repeat(4, 1, 1, 1).requires_grad_()
    output = layer(x)
    output.sum().backward()
    near = {"rtol": 1e-3, "atol": 1e-6}
    torch.testing.assert_close(output, torch.tensor([[1.65, 0], [0, 0]]).double().expand(4, 1, 2, 2), **near)
    expected = torch.tensor([[-0.666, 0.204, 0], [0.030, -0.416, 0.012], [0, 0.252, 0.129]]).double()
    torch.testing.assert_close(x.grad, expected.expand(4, 1, 3, 3), **near)
    expected = torch.tensor([[3.62, 0], [0.40, 0.18]]).double().view(1, 1, 2, 2)
    torch.testing.assert_close(layer.weight.grad / 4, expected, **near)
    expected = torch.tensor([1.44, -0.72, 0, 0, -0.10, -0.08, -0.54, -0.54]).double()
    torch.testing.assert_close(layer.conv_offset.bias.grad / 4, expected, **near)


def test_v2_gives_the_published_result():
    """Input and results of mmcv's own test: zero offsets, every mask 0.5."""
    layer = ModulatedDeformConv2dPack(1, 1, kernel_size=2, padding=1, bias=False)
    layer.weight.data.fill_(1.0)
    x = torch.tensor([1.0, 2, 3]).expand(1, 1, 3, 3).clone().requires_grad_()
    output = layer(x)
    output.sum().backward()
    outer, inner = [0.5, 1.5, 2.5, 1.5], [1.0, 3, 5, 3]
    torch.testing.assert_close(output, torch.tensor([[[outer, inner, inner, outer]]]))
    torch.testing.assert_close(x.grad, torch.full_like(x, 2.0))
    torch.testing.assert_close(layer.weight.grad, torch.full((1, 1, 2, 2), 9.0))
    expected = torch.tensor([-3.0, -1.5] * 4 + [4.5] * 4)
    torch.testing.assert_close(layer.conv_offset.bias.grad, expected)


def test_gradients_are_those_of_the_convolution():
    generator = torch.Generator().manual_seed(0)
    sizes = [(2, 4, 4, 5), (2, 16, 3, 4), (2, 8, 3, 4), (2, 2, 2, 2), (2,)]
    tensors = [torch.rand(size, generator=generator, dtype=torch.float64).requires_grad_() for size in sizes]
    x, offset, mask, weight, bias = tensors
    assert gradcheck(lambda *leaves: modulated_deform_conv2d(*leaves, 1, 0, 1, 2, 2), (x, offset, mask, weight, bias))
    assert gradcheck(lambda *leaves: deform_conv2d(*leaves, 1, 0, 1, 2, 2), (x, offset, weight))


def test_weights_learn_when_input_and_offset_are_frozen():
    weight = torch.rand(3, 2, 3, 3, requires_grad=True)
    x = torch.rand(2, 2, 5, 5)
    deform_conv2d(x, torch.zeros(2, 18, 3, 3), weight).sum().backward()
    expected = torch.autograd.grad(torch.nn.functional.conv2d(x, weight).sum(), weight)[0]
    torch.testing.assert_close(weight.grad, expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_16_bit_layers_run_forward_and_backward(dtype):
    layer = ModulatedDeformConv2dPack(2, 3, kernel_size=3, padding=1).to(dtype)
    output = layer(torch.rand(1, 2, 6, 6, dtype=dtype))
    output.sum().backward()
    assert output.dtype == layer.weight.grad.dtype == dtype
    assert torch.isfinite(layer.weight.grad).all()


def test_input_smaller_than_the_kernel_is_padded():
    output = DeformConv2d(1, 1, 3)(torch.rand(1, 1, 2, 5), torch.zeros(1, 18, 0, 3))
    assert output.shape == (1, 1, 0, 3)


def read_bilinear(plane: list[list[float]], y: float, x: float) -> float:
    """A map's value between its pixels; what lies outside is 0."""
    top, left = math.floor(y), math.floor(x)
    value = 0.0
    for row, column in itertools.product((top, top + 1), (left, left + 1)):
        if 0 <= row < len(plane) and 0 <= column < len(plane[0]):
            value += (1 - abs(y - row)) * (1 - abs(x - column)) * plane[row][column]
    return value


def slow_modulated_convolution(x, offset, mask, weight, stride: int, padding: int, offset_groups: int):
    """Tap by tap, with offsets and masks read from memory as if they had the size of the output."""
    B, C, H, W = x.shape
    K, _, k, _ = weight.shape
    height, width = ((size + 2 * padding - k) // stride + 1 for size in (H, W))
    output = torch.zeros(B, K, height, width, dtype=x.dtype)
    for b, kernel, c, row, column, i, j in itertools.product(*map(range, (B, K, C, height, width, k, k))):
        tap = c // (C // offset_groups) * k * k + i * k + j
        dy, dx = (offset[b].flatten()[((2 * tap + axis) * height + row) * width + column] for axis in (0, 1))
        y = row * stride - padding + i + dy.item()
        sample = read_bilinear(x[b, c].tolist(), y, column * stride - padding + j + dx.item())
        factor = mask[b].flatten()[(tap * height + row) * width + column] * weight[kernel, c, i, j]
        output[b, kernel, row, column] += factor * sample
    return output


def larger_than_the_output(height: int, width: int, offset_groups: int) -> list[torch.Tensor]:
    """Input, offset, mask and weight; the input is 3 x 4, offset and mask are height x width."""
    generator = torch.Generator().manual_seed(0)
    taps = 4 * offset_groups
    sizes = [(2, 2, 3, 4), (2, 2 * taps, height, width), (2, taps, height, width), (2, 2, 2, 2)]
    return [torch.rand(size, generator=generator, dtype=torch.float64).requires_grad_() for size in sizes]


@pytest.mark.parametrize(("height", "width", "stride", "groups"), [(5, 7, 1, 1), (4, 5, 2, 2), (2, 9, 1, 2)])
def test_v2_reads_offsets_and_masks_larger_than_the_output_as_mmcv_does(height, width, stride, groups):
    x, offset, mask, weight = larger_than_the_output(height, width, groups)
    output = modulated_deform_conv2d(x, offset, mask, weight, None, stride, 0, 1, 1, groups)
    torch.testing.assert_close(output, slow_modulated_convolution(x, offset, mask, weight, stride, 0, groups))


@pytest.mark.parametrize("groups", [1, 2])
def test_what_v2_does_not_read_of_offsets_and_masks_has_no_gradient(groups):
    leaves = larger_than_the_output(5, 7, groups)
    convolve = lambda *tensors: modulated_deform_conv2d(*tensors, None, 1, 0, 1, 1, groups)  # noqa: E731
    assert gradcheck(convolve, leaves)
    convolve(*leaves).sum().backward()
    for tensor, read in ((leaves[1], 8 * groups * 2 * 3), (leaves[2], 4 * groups * 2 * 3)):
        assert (tensor.grad.flatten(1)[:, read:] == 0).all()
        assert (tensor.grad.flatten(1)[:, :read] != 0).any()


def test_v2_reads_a_part_of_a_larger_tensor_as_dyhead_hands_it():
    x, offset, mask, weight = larger_than_the_output(5, 7, 1)
    both = torch.cat((offset, mask), 1).detach().requires_grad_()
    output = modulated_deform_conv2d(x, both[:, :8], both[:, 8:], weight, None)
    torch.testing.assert_close(output, modulated_deform_conv2d(x, offset, mask, weight, None))
    output.sum().backward()
    assert (both.grad[:, 8:].flatten(1)[:, 4 * 2 * 3 :] == 0).all()


def test_offsets_of_other_channels_or_too_small_for_the_output_are_refused_by_name():
    x, offset, mask, weight = larger_than_the_output(2, 3, 1)
    with pytest.raises(ValueError, match=r"offset: expected shape \(2, 8, 2, 3\) or larger maps, got \(2, 8, 1, 3\)"):
        modulated_deform_conv2d(x, offset[:, :, :1], mask, weight, None)
    with pytest.raises(ValueError, match=r"mask: expected shape \(2, 4, 2, 3\) or larger maps, got \(1, 4, 2, 3\)"):
        modulated_deform_conv2d(x, offset, mask[:1], weight, None)
    with pytest.raises(ValueError, match=r"offset: expected shape \(2, 8, 2, 3\) or larger maps, got \(2, 16, 2, 3\)"):
        modulated_deform_conv2d(x, torch.cat((offset, offset), 1), mask, weight, None)


def test_v1_refuses_offsets_larger_than_the_output_as_mmcv_does():
    x, offset, _, weight = larger_than_the_output(5, 7, 1)
    with pytest.raises(ValueError, match=r"offset: expected shape \(2, 8, 2, 3\), got \(2, 8, 5, 7\)"):
        deform_conv2d(x, offset, weight)


@pytest.mark.parametrize("case", cases("dense", "op_deform_conv2d_*"))
def test_the_portable_form_equals_golden_without_an_autograd_function(case):
    leaves = {
        name: case.leaf(f"input/{name}")
        for name in ("x", "offset", "mask", "weight", "bias")
        if f"input/{name}" in case
    }
    with portable_ops():
        output = run_case(case, leaves)
    case.check("output/y", output)
    names, waiting = set(), [output.grad_fn]
    while waiting:
        node = waiting.pop()
        names.add(node.name())
        waiting.extend(before for before, _ in node.next_functions if before is not None)
    assert not any("DeformConv" in name for name in names)


class LargerMasks(torch.nn.Module):
    """A modulated convolution of stride 2 with the offsets and masks of every cell, as DyHead has it."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.rand(3, 2, 3, 3))
        self.values = torch.nn.Conv2d(2, 27, 3, padding=1)

    def forward(self, maps):
        values = self.values(maps)
        return modulated_deform_conv2d(maps, values[:, :18], values[:, 18:].sigmoid(), self.weight, None, 2, 1)


LAYERS = {
    "v1": lambda: DeformConv2dPack(2, 3, 3, padding=1),
    "v2": lambda: ModulatedDeformConv2dPack(2, 3, 3, padding=1),
    "v2 with larger masks": LargerMasks,
}


@pytest.fixture(params=LAYERS)
def layer(request):
    torch.manual_seed(0)
    made = LAYERS[request.param]().eval()
    for parameter in made.parameters():  # offsets that are not zero
        parameter.data += 0.1 * torch.rand_like(parameter)
    return made


def test_the_portable_form_is_exported_with_a_free_batch(layer):
    maps = torch.rand(5, 2, 6, 8)
    with portable_ops(), torch.no_grad():
        batch = {0: torch.export.Dim("batch", min=1, max=64)}
        graph = torch.export.export(layer, (maps[:2],), dynamic_shapes=(batch,), strict=False).module()
        for images in (1, 2, 5):
            torch.testing.assert_close(graph(maps[:images]), layer(maps[:images]))


def test_the_portable_form_is_traced_with_a_free_batch(layer):
    maps = torch.rand(5, 2, 6, 8)
    with portable_ops(), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the checks of shapes, which a trace leaves out
        trace = torch.jit.trace(layer, (maps[:2],), check_trace=False)
        for images in (1, 2, 5):
            torch.testing.assert_close(trace(maps[:images]), layer(maps[:images]))
