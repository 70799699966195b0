import pytest
import torch
from mmcv.ops import DeformConv2d, DeformConv2dPack, ModulatedDeformConv2dPack, deform_conv2d, modulated_deform_conv2d
from support.golden import cases
from torch.autograd import gradcheck


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
