import math
from itertools import product

import pytest
import torch
from mmcv.ops import DeformRoIPool, DeformRoIPoolPack, ModulatedDeformRoIPoolPack, deform_roi_pool, roi_align
from torch.autograd import gradcheck

ROIS = [[0.0, 1.2, 0.3, 9.7, 7.1], [1, -2.0, -1.5, 4, 3], [1, 6.0, 5.0, 14.0, 11.0], [0, 3.0, 2.0, 3.4, 2.6]]


def features(dtype=torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 2, 6, 7, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()


def offsets(dtype=torch.float64) -> torch.Tensor:
    """Large enough to move some bins across the border and off the map."""
    generator = torch.Generator().manual_seed(1)
    return (torch.randn(4, 2, 2, 3, generator=generator, dtype=torch.float64) * 3).to(dtype).requires_grad_()


def bilinear(plane, y, x):
    """Tensors y and x; the border is read up to a pixel outside, and beyond that nothing."""
    height, width = plane.shape
    if y < -1 or y > height or x < -1 or x > width:
        return plane.new_zeros(())
    y, x = y.clamp(0, height - 1), x.clamp(0, width - 1)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    down, across = y - top, x - left
    upper = plane[top, left] * (1 - across) + plane[top, right] * across
    lower = plane[bottom, left] * (1 - across) + plane[bottom, right] * across
    return upper * (1 - down) + lower * down


def slow_pool(maps, rois, offset, bins, scale, ratio, gamma):
    """Section 2.2 of the paper, bin by bin: y(i, j) = sum of x(p0 + p + gamma * offset * size) / count."""
    output = maps.new_zeros(len(rois), maps.shape[1], *bins)
    for k, (image, *corners) in enumerate(rois.tolist()):
        x1, y1, x2, y2 = (value * scale - 0.5 for value in corners)
        bin_h, bin_w = (y2 - y1) / bins[0], (x2 - x1) / bins[1]
        rows, columns = ratio or math.ceil(bin_h), ratio or math.ceil(bin_w)
        for c, i, j in product(range(maps.shape[1]), range(bins[0]), range(bins[1])):
            dx, dy = gamma * (x2 - x1) * offset[k, 0, i, j], gamma * (y2 - y1) * offset[k, 1, i, j]
            ys = [y1 + dy + (i + (m + 0.5) / rows) * bin_h for m in range(rows)]
            xs = [x1 + dx + (j + (n + 0.5) / columns) * bin_w for n in range(columns)]
            output[k, c, i, j] = torch.stack([bilinear(maps[int(image), c], y, x) for y, x in product(ys, xs)]).mean()
    return output


@pytest.mark.parametrize(("ratio", "scale", "gamma"), [(0, 1.0, 0.1), (2, 0.5, 0.1), (0, 0.5, 0.7), (1, 1.0, 0.0)])
def test_regions_and_gradients_equal_a_loop(ratio, scale, gamma):
    maps, rois, offset = features(), torch.tensor(ROIS, dtype=torch.float64), offsets()
    ours = deform_roi_pool(maps, rois, offset, (2, 3), scale, ratio, gamma)
    theirs = slow_pool(maps, rois, offset, (2, 3), scale, ratio, gamma)
    torch.testing.assert_close(ours, theirs)
    upstream = torch.rand_like(ours)
    ours_grad, theirs_grad = (torch.autograd.grad(output, (maps, offset), upstream) for output in (ours, theirs))
    torch.testing.assert_close(ours_grad, theirs_grad)


def test_gradients_are_those_of_the_pooling():
    rois = torch.tensor(ROIS, dtype=torch.float64)
    pool = DeformRoIPool((2, 3), 0.5, 2, 0.3)
    assert gradcheck(lambda maps, offset: pool(maps, rois, offset), (features(), offsets()))
    assert gradcheck(lambda maps: pool(maps, rois), (features(),))


@pytest.mark.parametrize("ratio", [0, 3])
def test_without_offsets_it_is_aligned_roi_align(ratio):
    maps, rois = features(), torch.tensor(ROIS, dtype=torch.float64)
    expected = roi_align(maps, rois, (2, 3), 0.5, ratio, "avg", True)
    torch.testing.assert_close(deform_roi_pool(maps, rois, None, (2, 3), 0.5, ratio, 0.1), expected)
    still = torch.zeros(4, 2, 2, 3, dtype=torch.float64)
    torch.testing.assert_close(deform_roi_pool(maps, rois, still, (2, 3), 0.5, ratio, 0.1), expected)


def test_pooling_gives_the_published_result():
    """Input and result of mmcv's own test: offsets that have learnt nothing, two samples per bin and axis."""
    maps = torch.tensor([[1.0, 2, 5, 6], [3, 4, 7, 8], [9, 10, 13, 14], [11, 12, 15, 16]]).view(1, 1, 4, 4)
    maps.requires_grad_()
    output = DeformRoIPoolPack(2, 1, sampling_ratio=2)(maps, torch.tensor([[0.0, 0, 0, 3, 3]]))
    output.sum().backward()
    assert output.flatten().tolist() == [1.9375, 4.75, 7.5625, 10.375]
    shares = torch.tensor([0.6875, 0.625, 0.625, 0.0625])
    torch.testing.assert_close(maps.grad[0, 0], torch.outer(shares, shares))


def test_no_regions_and_regions_of_no_size_give_zeros_without_gradient():
    maps = features()
    none = deform_roi_pool(maps, torch.zeros(0, 5).double(), torch.zeros(0, 2, 2, 3).double(), (2, 3))
    assert none.shape == (0, 2, 2, 3)
    point = torch.tensor([[0.0, 2, 2, 2, 2], [1, 4, 4, 3, 3]]).double()
    offset = torch.ones(2, 2, 2, 3).double().requires_grad_()
    output = deform_roi_pool(maps, point, offset, (2, 3))
    (output.sum() + none.sum()).backward()
    assert (output == 0).all()
    assert (maps.grad == 0).all()
    assert (offset.grad == 0).all()


def test_offsets_that_are_no_numbers_move_their_bins_off_the_map():
    offset = offsets().detach()
    offset[0, 0, 0, 0] = torch.nan
    offset[1, 1, 1, 2] = torch.inf
    output = deform_roi_pool(features(), torch.tensor(ROIS).double(), offset, (2, 3))
    assert torch.isfinite(output).all()
    assert (output[0, :, 0, 0] == 0).all()
    assert (output[1, :, 1, 2] == 0).all()


@pytest.mark.parametrize("ratio", [0, 2])
def test_regions_whose_corners_are_no_numbers_give_zeros_without_gradient(ratio):
    maps, offset = features(), offsets()
    rois = torch.tensor([[0, torch.nan, 1, 5, 5], [1, 1, 1, torch.inf, 5], [0, 1, 1, 5, -torch.inf], ROIS[0]])
    output = deform_roi_pool(maps, rois.double(), offset, (2, 3), 1.0, ratio)
    output.sum().backward()
    assert (output[:3] == 0).all()
    assert (output[3] != 0).any()
    assert torch.isfinite(maps.grad).all()
    assert (offset.grad[:3] == 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_16_bit_features_run_forward_and_backward(dtype):
    maps, rois, offset = features(dtype), torch.tensor(ROIS, dtype=dtype), offsets(dtype)
    output = deform_roi_pool(maps, rois, offset, (2, 3), 0.5, 2, 0.1)
    output.sum().backward()
    wide = deform_roi_pool(maps.double(), rois.double(), offset.double(), (2, 3), 0.5, 2, 0.1)
    torch.testing.assert_close(output, wide.to(dtype), rtol=2e-2, atol=2e-2)
    assert output.dtype == maps.grad.dtype == offset.grad.dtype == dtype
    assert torch.isfinite(offset.grad).all()


@pytest.mark.parametrize("layer", [DeformRoIPoolPack, ModulatedDeformRoIPoolPack])
def test_layers_learn_their_offsets(layer):
    torch.manual_seed(0)
    pool = layer((2, 3), 2, deform_fc_channels=8, spatial_scale=0.5).double()
    pool(features(), torch.tensor(ROIS).double()).sum().backward()
    assert pool.offset_fc[-1].bias.grad.abs().sum() > 0
    if layer is ModulatedDeformRoIPoolPack:
        assert pool.mask_fc[2].bias.grad.abs().sum() > 0
