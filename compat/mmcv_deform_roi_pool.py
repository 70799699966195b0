"""Deformable RoI pooling in the calling convention of ``mmcv._ext``: RoIAlign whose bins are moved one by one.

Dai et al., "Deformable Convolutional Networks" (2017), section 2.2: each bin is the average of evenly spread bilinear
samples, and an offset moves it by gamma times its share of the region's size. A bin without samples (a region of no
size, or one whose corners are no numbers) is 0 and takes no gradient. mmcv has no kernel for a CPU. Its gradient of an
offset that moves samples to the map's border is not the derivative of its output; here it is.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .bilinear import neighbours
from .precision import at_least_float32

__all__ = ["deform_roi_pool_backward", "deform_roi_pool_forward"]

OUTSIDE = -2.0  # a place that no bilinear sample reads from


class Pooling(NamedTuple):
    """mmcv's settings, as in the forward."""

    pooled_height: int
    pooled_width: int
    spatial_scale: float
    sampling_ratio: int
    gamma: float


def deform_roi_pool_forward(
    input: Tensor,
    rois: Tensor,
    offset: Tensor,
    output: Tensor,
    *,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    gamma: float,
) -> None:
    """Write the pooled regions.

    Args:
        input: (B, C, H, W).
        rois: (K, 5) image index and xyxy, pixels of the image.
        offset: (K, 2, pooled_height, pooled_width), x before y, shares of the region's size; or empty for none.
        output: (K, C, pooled_height, pooled_width), written.
        pooled_height, pooled_width: bins per region.
        spatial_scale: map pixels per image pixel.
        sampling_ratio: samples per bin and axis; 0 takes about one per map pixel.
        gamma: factor of the offsets.
    """
    pooling = Pooling(pooled_height, pooled_width, spatial_scale, sampling_ratio, gamma)
    output.copy_(_pool(at_least_float32(input), rois, at_least_float32(offset), pooling))


def deform_roi_pool_backward(
    grad_output: Tensor,
    input: Tensor,
    rois: Tensor,
    offset: Tensor,
    grad_input: Tensor,
    grad_offset: Tensor,
    *,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    gamma: float,
) -> None:
    """Write the gradients of input and offset; ``grad_output`` is that of the output, the others are the forward's."""
    pooling = Pooling(pooled_height, pooled_width, spatial_scale, sampling_ratio, gamma)
    leaves = [at_least_float32(tensor).detach().requires_grad_() for tensor in (input, offset)]
    with torch.enable_grad():
        output = _pool(leaves[0], rois, leaves[1], pooling)
    gradients = torch.autograd.grad(output, leaves, grad_output.to(output.dtype), materialize_grads=True)
    grad_input.copy_(gradients[0])
    grad_offset.copy_(gradients[1])


def _pool(input: Tensor, rois: Tensor, offset: Tensor, pooling: Pooling) -> Tensor:
    """(K, C, pooled_height, pooled_width); differentiable in input and offset."""
    C, H, W = input.shape[1:]
    bins, y, x, share = _samples(rois[:, 1:].to(input), offset, pooling)
    cells, weights = _cells(y, x, H, W)
    images = rois[:, 0].long().repeat_interleave(pooling.pooled_height * pooling.pooled_width)
    pixels = input.permute(0, 2, 3, 1).reshape(-1, C)
    first = 4 * torch.searchsorted(bins, torch.arange(len(images), device=bins.device))
    cells, weights = cells + (images[bins] * (H * W)).unsqueeze(1), weights * share.unsqueeze(1)
    pooled = F.embedding_bag(cells.flatten(), pixels, first, mode="sum", per_sample_weights=weights.flatten())
    return pooled.view(len(rois), pooling.pooled_height, pooling.pooled_width, C).permute(0, 3, 1, 2)


def _samples(corners: Tensor, offset: Tensor, pooling: Pooling) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The samples of all bins, in the order of the bins.

    Args:
        corners: (K, 4) xyxy, pixels of the image.
        offset: (K, 2, pooled_height, pooled_width) or empty.

    Returns:
        For S samples: the bin, 0 .. K * pooled_height * pooled_width - 1; y and x on the map; the share in the average.
    """
    known = corners.isfinite().all(1, keepdim=True)
    corners = (corners * pooling.spatial_scale - 0.5).where(known, OUTSIDE)
    width, height = (corners[:, 2:] - corners[:, :2]).unbind(1)
    step = torch.stack((width / pooling.pooled_width, height / pooling.pooled_height), 1)  # (K, 2), size of a bin
    counts = torch.full_like(step, pooling.sampling_ratio) if pooling.sampling_ratio > 0 else step.ceil()
    counts = counts.long().clamp(min=0)
    starts = _bin_starts(corners, step, offset, pooling)  # (K, h * w, 2) xy
    per_bin = counts.prod(1).repeat_interleave(starts.shape[1])
    bins = torch.arange(len(per_bin), device=per_bin.device).repeat_interleave(per_bin)
    regions = bins // starts.shape[1]
    number = torch.arange(len(bins), device=bins.device) - (per_bin.cumsum(0) - per_bin)[bins]
    across = counts[regions, 0]
    inside = torch.stack((number % across, number // across), 1) + 0.5
    x, y = (starts.flatten(0, 1)[bins] + inside * (step / counts)[regions]).unbind(1)
    return bins, y, x, 1 / per_bin[bins].to(x)


def _bin_starts(corners: Tensor, step: Tensor, offset: Tensor, pooling: Pooling) -> Tensor:
    """(K, 4), (K, 2) -> (K, pooled_height * pooled_width, 2) xy, where each bin begins on the map."""
    rows = torch.arange(pooling.pooled_height, device=corners.device)
    columns = torch.arange(pooling.pooled_width, device=corners.device)
    index = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1).flatten(0, 1)  # (h * w, 2)
    starts = corners[:, None, :2] + index * step.unsqueeze(1)
    if offset.numel() == 0:
        return starts
    sizes = (corners[:, 2:] - corners[:, :2]).unsqueeze(1)
    return starts + pooling.gamma * sizes * offset.to(starts).flatten(2).transpose(1, 2)


def _cells(y: Tensor, x: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """(S,) and (S,) -> (S, 4) index of the four pixels around each sample, row * width + column, and their weights."""
    top, bottom, down, row_inside = neighbours(y, height)
    left, right, across, column_inside = neighbours(x, width)
    rows = torch.stack((top, top, bottom, bottom), 1)
    columns = torch.stack((left, right, left, right), 1)
    down, across = torch.stack((1 - down, down), 1), torch.stack((1 - across, across), 1)
    weights = (down.unsqueeze(2) * across.unsqueeze(1)).flatten(1)
    return rows * width + columns, weights * (row_inside & column_inside).unsqueeze(1)
