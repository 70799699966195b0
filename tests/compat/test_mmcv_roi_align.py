import math
from itertools import product

import pytest
import torch
from mmcv.ops import RoIAlign, roi_align
from torch.autograd import gradcheck

ROIS = [[0.0, 1.2, 0.3, 9.7, 7.1], [1, -2.0, -1.5, 4, 3], [1, 6.0, 5.0, 14.0, 11.0], [0, 3.0, 2.0, 3.4, 2.6]]


def features() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 2, 6, 7, generator=generator, dtype=torch.float64).requires_grad_()


def bilinear(plane, y, x):
    height, width = plane.shape
    if y < -1 or y > height or x < -1 or x > width:
        return plane.new_zeros(())
    y, x = min(max(y, 0.0), height - 1), min(max(x, 0.0), width - 1)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    down, across = y - top, x - left
    upper = plane[top, left] * (1 - across) + plane[top, right] * across
    lower = plane[bottom, left] * (1 - across) + plane[bottom, right] * across
    return upper * (1 - down) + lower * down


def slow_roi_align(maps, rois, bins, scale, ratio, mode, aligned):
    output = maps.new_zeros(len(rois), maps.shape[1], *bins)
    for k, (image, *corners) in enumerate(rois.tolist()):
        x1, y1, x2, y2 = (value * scale - (0.5 if aligned else 0) for value in corners)
        width, height = (x2 - x1, y2 - y1) if aligned else (max(x2 - x1, 1.0), max(y2 - y1, 1.0))
        bin_h, bin_w = height / bins[0], width / bins[1]
        rows, columns = ratio or math.ceil(bin_h), ratio or math.ceil(bin_w)
        for c, i, j in product(range(maps.shape[1]), range(bins[0]), range(bins[1])):
            ys = [y1 + (i + (m + 0.5) / rows) * bin_h for m in range(rows)]
            xs = [x1 + (j + (n + 0.5) / columns) * bin_w for n in range(columns)]
            samples = torch.stack([bilinear(maps[int(image), c], y, x) for y, x in product(ys, xs)])
            output[k, c, i, j] = samples.max() if mode == "max" else samples.mean()
    return output


@pytest.mark.parametrize("mode", ["avg", "max"])
@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize(("ratio", "scale"), [(0, 1.0), (2, 0.5)])
def test_regions_and_gradients_equal_a_loop(mode, aligned, ratio, scale):
    maps, rois = features(), torch.tensor(ROIS, dtype=torch.float64)
    ours = roi_align(maps, rois, (2, 3), scale, ratio, mode, aligned)
    theirs = slow_roi_align(maps, rois, (2, 3), scale, ratio, mode, aligned)
    torch.testing.assert_close(ours, theirs)
    upstream = torch.rand_like(ours)
    ours_grad, theirs_grad = (torch.autograd.grad(output, maps, upstream)[0] for output in (ours, theirs))
    torch.testing.assert_close(ours_grad, theirs_grad)


@pytest.mark.parametrize("mode", ["avg", "max"])
def test_gradients_are_those_of_the_pooling(mode):
    layer = RoIAlign((2, 2), 0.5, 2, mode)
    assert gradcheck(lambda maps: layer(maps, torch.tensor(ROIS, dtype=torch.float64)), (features(),))


@pytest.mark.parametrize("mode", ["avg", "max"])
def test_a_region_without_size_is_zero_and_takes_no_gradient(mode):
    maps = features()
    output = roi_align(maps, torch.tensor([[0.0, 2, 2, 2, 2]]).double(), 2, 1.0, 0, mode, True)
    output.sum().backward()
    assert not output.any()
    assert not maps.grad.any()


@pytest.mark.parametrize("mode", ["avg", "max"])
def test_no_regions_give_an_empty_result(mode):
    maps = features()
    output = roi_align(maps, torch.zeros(0, 5).double(), 2, 1.0, 0, mode, True)
    output.sum().backward()
    assert output.shape == (0, 2, 2, 2)
    assert not maps.grad.any()


@pytest.mark.parametrize("mode", ["avg", "max"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_16_bit_maps_run_forward_and_backward(mode, dtype):
    maps = features().detach().to(dtype).requires_grad_()
    output = roi_align(maps, torch.tensor(ROIS, dtype=dtype), 2, 1.0, 2, mode, True)
    output.sum().backward()
    assert output.dtype == maps.grad.dtype == dtype
    assert torch.isfinite(output).all()


@pytest.mark.parametrize("mode", ["avg", "max"])
@pytest.mark.parametrize("aligned", [True, False])
def test_regions_whose_corners_are_no_numbers_give_zeros_without_gradient(mode, aligned):
    rois = [[0, math.nan, 1, 5, 5], [1, 1, 1, math.inf, 5], [0, 1, -math.inf, 5, 5], ROIS[0]]
    maps, rois = features(), torch.tensor(rois, dtype=torch.float64)
    output = roi_align(maps, rois, (2, 3), 1.0, 0, mode, aligned)
    output.sum().backward()
    assert (output[:3] == 0).all()
    alone = features()
    expected = roi_align(alone, rois[3:], (2, 3), 1.0, 0, mode, aligned)
    expected.sum().backward()
    torch.testing.assert_close(output[3:], expected)
    torch.testing.assert_close(maps.grad, alone.grad)
