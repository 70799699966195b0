"""RoIAlign in the calling convention of ``mmcv._ext``: the average of bilinear samples, or their maximum.

He et al., "Mask R-CNN" (2017). Averages are torchvision's kernel. The maximum exists in mmcv only and is written here,
region by region: correct on every device, not tuned for speed. A bin without samples (a region of no size, or one whose
corners are no numbers) is 0 and takes no gradient.
"""

import math

import torch
from torch import Tensor

from .bilinear import neighbours
from .precision import at_least_float32

__all__ = ["roi_align_backward", "roi_align_forward"]

MAX = 0  # mmcv's number for the pooling mode; 1 is the average
NOWHERE = -1.0  # argmax of a bin without samples


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    *,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Write the pooled regions, and for the maximum where each was found.

    Args:
        input: (B, C, H, W).
        rois: (K, 5) image index and xyxy, pixels of the image.
        output: (K, C, aligned_height, aligned_width), written.
        argmax_y: like ``output`` for the maximum, else empty; receives y on the map.
        argmax_x: like ``argmax_y``; receives x on the map.
        aligned_height, aligned_width: bins per region.
        spatial_scale: map pixels per image pixel.
        sampling_ratio: samples per bin and axis; 0 takes about one per map pixel.
        pool_mode: 0 maximum, 1 average.
        aligned: shift by half a pixel, so that pixel centres lie at half-integers.
    """
    features = at_least_float32(input)
    rois, known = _known(rois.to(features))
    if pool_mode != MAX:
        sizes = (aligned_height, aligned_width, sampling_ratio, aligned)
        output.copy_(torch.ops.torchvision.roi_align(features, rois, spatial_scale, *sizes).where(known, 0))
        return
    bins = _first_bins(rois, spatial_scale, aligned, aligned_width, aligned_height)
    for index, (image, (x, y, width, height)) in enumerate(zip(rois[:, 0].long().tolist(), bins.tolist(), strict=True)):
        ys = _bin_samples(y, height, aligned_height, sampling_ratio).to(features)
        xs = _bin_samples(x, width, aligned_width, sampling_ratio).to(features)
        output[index], argmax_y[index], argmax_x[index] = _max_samples(features[image], ys, xs)
    output.masked_fill_(~known, 0)


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    *,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Write the gradient of the features (B, C, H, W); the other arguments are those of the forward."""
    gradient = at_least_float32(grad_output)
    rois, known = _known(rois.to(gradient))
    gradient = gradient.where(known, 0)
    if pool_mode == MAX:
        images = rois[:, 0].long()
        result = _scatter_max(gradient, images, argmax_y.to(gradient), argmax_x.to(gradient), grad_input.shape)
    else:
        sizes = (aligned_height, aligned_width, *grad_input.shape, sampling_ratio, aligned)
        result = torch.ops.torchvision._roi_align_backward(gradient, rois, spatial_scale, *sizes)
    grad_input.copy_(result)


def _known(rois: Tensor) -> tuple[Tensor, Tensor]:
    """The regions, with zeros for those whose corners are no numbers, and (K, 1, 1, 1) whether they are.

    torchvision's kernel would read memory that is not the map's.
    """
    known = rois.isfinite().all(1, keepdim=True)
    return rois.where(known, 0), known.view(-1, 1, 1, 1)


def _first_bins(rois: Tensor, spatial_scale: float, aligned: bool, columns: int, rows: int) -> Tensor:
    """(K, 5) -> (K, 4) x, y, width and height of each region's first bin on the map."""
    corners = rois[:, 1:] * spatial_scale - (0.5 if aligned else 0.0)
    sizes = corners[:, 2:] - corners[:, :2]
    sizes = sizes if aligned else sizes.clamp(min=1.0)
    return torch.cat((corners[:, :2], sizes / sizes.new_tensor([columns, rows])), dim=1)


def _bin_samples(start: float, width: float, bins: int, sampling_ratio: int) -> Tensor:
    """(bins, samples) evenly spread coordinates, float64."""
    samples = sampling_ratio if sampling_ratio > 0 else max(math.ceil(width), 0)
    inside = (torch.arange(samples, dtype=torch.float64) + 0.5) * width / max(samples, 1)
    return start + torch.arange(bins, dtype=torch.float64).unsqueeze(1) * width + inside


def _max_samples(features: Tensor, ys: Tensor, xs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Largest bilinear sample of each bin and where it lies.

    Args:
        features: (C, H, W).
        ys: (h, m), m samples for each of h bins.
        xs: (w, n).

    Returns:
        Values, y and x, each (C, h, w).
    """
    C, (h, m), (w, n) = len(features), ys.shape, xs.shape
    if m * n == 0:
        empty = features.new_zeros((C, h, w))
        return empty, empty + NOWHERE, empty + NOWHERE
    samples = _interpolate(_interpolate(features, ys.flatten(), 1), xs.flatten(), 2)  # (C, h * m, w * n)
    values, index = samples.view(C, h, m, w, n).transpose(2, 3).flatten(3).max(3)
    rows, columns = torch.arange(h, device=ys.device).view(h, 1), torch.arange(w, device=xs.device)
    return values, ys[rows, index // n], xs[columns, index % n]


def _interpolate(features: Tensor, coordinates: Tensor, dim: int) -> Tensor:
    """Linear interpolation along one axis; 0 beyond a pixel outside the map, as in mmcv."""
    low, high, fraction, inside = neighbours(coordinates, features.shape[dim])
    shape = [-1 if axis == dim else 1 for axis in range(features.dim())]
    low_weight, high_weight = ((1 - fraction) * inside).view(shape), (fraction * inside).view(shape)
    return features.index_select(dim, low) * low_weight + features.index_select(dim, high) * high_weight


def _scatter_max(gradient: Tensor, images: Tensor, ys: Tensor, xs: Tensor, shape: torch.Size) -> Tensor:
    """Spread each bin's gradient over the four pixels around its maximum.

    Args:
        gradient: (K, C, h, w).
        images: (K,) image index.
        ys: (K, C, h, w), where the maximum lies.
        xs: (K, C, h, w).
        shape: (B, C, H, W) of the features.

    Returns:
        (B, C, H, W).
    """
    _, C, H, W = shape
    found = ys != NOWHERE
    planes = images.view(-1, 1, 1, 1) * C + torch.arange(C, device=ys.device).view(1, C, 1, 1)
    top, bottom, down, row_inside = neighbours(ys, H)
    left, right, across, column_inside = neighbours(xs, W)
    gradient = gradient * (found & row_inside & column_inside)
    result = gradient.new_zeros(shape.numel())
    for y, y_weight in ((top, 1 - down), (bottom, down)):
        for x, x_weight in ((left, 1 - across), (right, across)):
            result.index_add_(0, ((planes * H + y) * W + x).flatten(), (gradient * y_weight * x_weight).flatten())
    return result.view(shape)
