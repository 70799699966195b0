"""RoIPool in the calling convention of ``mmcv._ext``: the maximum of each bin's pixels.

Girshick, "Fast R-CNN" (2015). mmcv's bins have real-valued edges, torchvision's are rounded first, so the two differ
and mmcv's rule is written here, region by region: correct on every device, not tuned for speed. A bin without pixels
is 0 and takes no gradient.
"""

import torch
from torch import Tensor

__all__ = ["roi_pool_backward", "roi_pool_forward"]

NOWHERE = -1  # argmax of a bin without pixels


def roi_pool_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax: Tensor,
    *,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Write the pooled regions and where each maximum was found.

    Args:
        input: (B, C, H, W).
        rois: (K, 5) image index and xyxy, pixels of the image, the last pixel included.
        output: (K, C, pooled_height, pooled_width), written.
        argmax: like ``output``, int; receives y * W + x, or -1 for an empty bin.
        pooled_height, pooled_width: bins per region.
        spatial_scale: map pixels per image pixel.
    """
    _, _, H, W = input.shape
    corners = rois[:, 1:].to(torch.promote_types(rois.dtype, torch.float32))
    starts, ends = corners[:, :2] * spatial_scale, (corners[:, 2:] + 1) * spatial_scale
    columns = _bin_edges(starts[:, 0], ends[:, 0], pooled_width, W).tolist()
    rows = _bin_edges(starts[:, 1], ends[:, 1], pooled_height, H).tolist()
    for index, image in enumerate(rois[:, 0].long().tolist()):
        output[index], argmax[index] = _max_bins(input[image], rows[index], columns[index])


def roi_pool_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax: Tensor,
    grad_input: Tensor,
    *,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Write the gradient of the features (B, C, H, W); the other arguments are those of the forward."""
    _, C, H, W = grad_input.shape
    found = argmax != NOWHERE
    planes = rois[:, 0].long().view(-1, 1, 1, 1) * C + torch.arange(C, device=rois.device).view(1, C, 1, 1)
    positions = planes * (H * W) + argmax.long().clamp(min=0)
    gradient = grad_output.new_zeros(grad_input.numel())
    gradient.index_add_(0, positions.flatten(), (grad_output * found).flatten())
    grad_input.copy_(gradient.view(grad_input.shape))


def _bin_edges(starts: Tensor, ends: Tensor, bins: int, size: int) -> Tensor:
    """(K,) and (K,) -> (K, bins, 2) first pixel and one past the last; equal where the bin is empty."""
    width = ((ends - starts) / bins).unsqueeze(1)
    index = torch.arange(bins, device=starts.device)
    first = (starts.unsqueeze(1) + index * width).floor().clamp(0, size)
    last = (starts.unsqueeze(1) + (index + 1) * width).ceil().clamp(0, size)
    last = torch.where(width > 0, last.maximum(first), first)
    return torch.stack((first, last), dim=-1).long()


def _max_bins(features: Tensor, rows: list[list[int]], columns: list[list[int]]) -> tuple[Tensor, Tensor]:
    """(C, H, W) -> values (C, h, w) and their positions y * W + x, taking rows first, then columns."""
    W = features.shape[2]
    row_values, row_index = _max_along(features, rows, dim=1)
    values, column_index = _max_along(row_values, columns, dim=2)
    y = row_index.gather(2, column_index.clamp(min=0))
    found = (y != NOWHERE) & (column_index != NOWHERE)
    return values.where(found, 0), (y * W + column_index).where(found, NOWHERE)


def _max_along(features: Tensor, edges: list[list[int]], dim: int) -> tuple[Tensor, Tensor]:
    """Largest value of each bin along one axis, and its index; -1 for an empty bin."""
    bins = [_max_of_bin(features, first, last, dim) for first, last in edges]
    values, index = zip(*bins, strict=True)
    return torch.stack(values, dim), torch.stack(index, dim)


def _max_of_bin(features: Tensor, first: int, last: int, dim: int) -> tuple[Tensor, Tensor]:
    if first == last:
        nothing = features.select(dim, 0)
        return torch.zeros_like(nothing), torch.full_like(nothing, NOWHERE, dtype=torch.long)
    values, index = features.narrow(dim, first, last - first).max(dim)
    return values, index + first
