import sys
from itertools import product

import pytest
import torch
from mmcv.ops import CARAFEPack, carafe, carafe_naive
from torch.autograd import gradcheck


def inputs(
    channels: int, groups: int, kernel: int, scale: int, dtype=torch.float64
) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, channels, 3, 4, generator=generator, dtype=torch.float64)
    masks = torch.randn(2, groups * kernel**2, 3 * scale, 4 * scale, generator=generator, dtype=torch.float64)
    return features.to(dtype).requires_grad_(), masks.to(dtype).requires_grad_()


def slow_carafe(features, masks, kernel, groups, scale):
    """Equation 4 of the paper, pixel by pixel."""
    B, C, H, W = features.shape
    output = features.new_zeros(B, C, H * scale, W * scale)
    for b, c, y, x in product(range(B), range(C), range(H * scale), range(W * scale)):
        group = c * groups // C
        for n, m in product(range(kernel), repeat=2):
            row, column = y // scale + n - kernel // 2, x // scale + m - kernel // 2
            if 0 <= row < H and 0 <= column < W:
                weight = masks[b, (group * kernel + n) * kernel + m, y, x]
                output[b, c, y, x] = output[b, c, y, x] + weight * features[b, c, row, column]
    return output


SIZES = [(2, 1, 3, 2), (4, 2, 3, 3), (3, 3, 5, 1), (2, 1, 1, 2)]


@pytest.mark.parametrize(("channels", "groups", "kernel", "scale"), SIZES)
@pytest.mark.parametrize("op", [carafe, carafe_naive], ids=["carafe", "naive"])
def test_upsampled_maps_equal_a_loop(op, channels, groups, kernel, scale):
    features, masks = inputs(channels, groups, kernel, scale)
    expected = slow_carafe(features, masks, kernel, groups, scale)
    torch.testing.assert_close(op(features, masks, kernel, groups, scale), expected)


@pytest.mark.parametrize(("channels", "groups", "kernel", "scale"), SIZES)
def test_gradients_are_those_of_the_upsampling(channels, groups, kernel, scale):
    leaves = inputs(channels, groups, kernel, scale)
    assert gradcheck(lambda *tensors: carafe(*tensors, kernel, groups, scale), leaves)


def test_the_naive_op_has_the_same_gradients():
    """mmcv's layer over it runs backward on a GPU only, so the op is called as that layer does."""
    features, masks = inputs(4, 2, 3, 2)
    output = carafe(features, masks, 3, 2, 2)
    upstream = torch.rand_like(output)
    ours = torch.zeros_like(features), torch.zeros_like(masks)
    sizes = {"kernel_size": 3, "group_size": 2, "scale_factor": 2}
    sys.modules["mmcv._ext"].carafe_naive_backward(upstream, features.detach(), masks.detach(), *ours, **sizes)
    torch.testing.assert_close(ours, torch.autograd.grad(output, (features, masks), upstream))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_16_bit_maps_run_forward_and_backward(dtype):
    features, masks = inputs(4, 2, 5, 2, dtype)
    output = carafe(features, masks, 5, 2, 2)
    output.sum().backward()
    wide = carafe(features.double(), masks.double(), 5, 2, 2)
    torch.testing.assert_close(output, wide.to(dtype))
    assert features.grad.dtype == masks.grad.dtype == dtype
    assert torch.isfinite(features.grad).all()


def test_constant_maps_stay_constant_where_no_tap_leaves_the_map():
    layer = CARAFEPack(8, scale_factor=2, up_kernel=3, compressed_channels=4)
    output = layer(torch.ones(1, 8, 6, 7))
    torch.testing.assert_close(output[:, :, 2:-2, 2:-2], torch.ones(1, 8, 8, 10))
    output.sum().backward()
    assert all(parameter.grad is not None for parameter in layer.parameters())


def test_layout_and_size_do_not_matter():
    features, masks = (tensor.detach() for tensor in inputs(4, 2, 3, 2))
    expected = carafe(features, masks, 3, 2, 2)
    last = (tensor.to(memory_format=torch.channels_last) for tensor in (features, masks))
    torch.testing.assert_close(carafe(*last, 3, 2, 2), expected)
    assert carafe(features[:0], masks[:0], 3, 2, 2).shape == (0, 4, 6, 8)
    pixel = carafe(features[..., 1:2, 1:2], masks[..., 2:4, 2:4], 3, 2, 2)
    centre = masks[:, 4::9, 2:4, 2:4].repeat_interleave(2, 1)  # of nine taps only the middle one is on the map
    torch.testing.assert_close(pixel, centre * features[..., 1:2, 1:2])
