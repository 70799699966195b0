import math
from itertools import product

import pytest
import torch
from mmcv.ops import RoIPool, roi_pool
from torch.autograd import gradcheck

ROIS = [[0.0, 1.2, 0.3, 9.7, 7.1], [1, -2.0, -1.5, 4, 3], [1, 6.0, 5.0, 14.0, 11.0], [0, 5.0, 4.0, 2.0, 2.0]]


def features() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 2, 6, 7, generator=generator, dtype=torch.float64).requires_grad_()


def slow_roi_pool(maps, rois, bins, scale):
    _, C, H, W = maps.shape
    output = maps.new_zeros(len(rois), C, *bins)
    for k, (image, x1, y1, x2, y2) in enumerate(rois.tolist()):
        left, top, right, bottom = x1 * scale, y1 * scale, (x2 + 1) * scale, (y2 + 1) * scale
        if right <= left or bottom <= top:
            continue
        height, width = (bottom - top) / bins[0], (right - left) / bins[1]
        for c, i, j in product(range(C), range(bins[0]), range(bins[1])):
            rows = range(max(math.floor(top + i * height), 0), min(math.ceil(top + (i + 1) * height), H))
            columns = range(max(math.floor(left + j * width), 0), min(math.ceil(left + (j + 1) * width), W))
            pixels = [maps[int(image), c, y, x] for y, x in product(rows, columns)]
            if pixels:
                output[k, c, i, j] = torch.stack(pixels).max()
    return output


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_regions_and_gradients_equal_a_loop(scale):
    maps, rois = features(), torch.tensor(ROIS, dtype=torch.float64)
    ours, theirs = roi_pool(maps, rois, (2, 3), scale), slow_roi_pool(maps, rois, (2, 3), scale)
    torch.testing.assert_close(ours, theirs)
    upstream = torch.rand_like(ours)
    ours_grad, theirs_grad = (torch.autograd.grad(output, maps, upstream)[0] for output in (ours, theirs))
    torch.testing.assert_close(ours_grad, theirs_grad)


def test_pooling_gives_the_published_result():
    """Input and result of mmcv's own test."""
    maps = torch.tensor([[1.0, 2, 5, 6], [3, 4, 7, 8], [9, 10, 13, 14], [11, 12, 15, 16]]).view(1, 1, 4, 4)
    maps.requires_grad_()
    output = roi_pool(maps, torch.tensor([[0.0, 0, 0, 3, 3]]), 2, 1.0)
    output.sum().backward()
    assert output.flatten().tolist() == [4, 8, 12, 16]
    assert maps.grad[0, 0].nonzero().tolist() == [[1, 1], [1, 3], [3, 1], [3, 3]]


def test_gradients_are_those_of_the_pooling():
    layer = RoIPool((2, 2), 0.5)
    assert gradcheck(lambda maps: layer(maps, torch.tensor(ROIS, dtype=torch.float64)), (features(),))


def test_no_regions_give_an_empty_result():
    maps = features()
    output = roi_pool(maps, torch.zeros(0, 5).double(), 2, 1.0)
    output.sum().backward()
    assert output.shape == (0, 2, 2, 2)
    assert not maps.grad.any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_16_bit_maps_run_forward_and_backward(dtype):
    maps = features().detach().to(dtype).requires_grad_()
    output = roi_pool(maps, torch.tensor(ROIS, dtype=dtype), 2, 1.0)
    output.sum().backward()
    assert output.dtype == maps.grad.dtype == dtype
