"""Multi-scale deformable attention as ONNX can hold it: plain gathers, which keep the sizes of the levels tensors.

The reference reads those sizes on the host, which an exporter that runs on shapes alone cannot do.
"""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor

__all__ = ["attend_in_gathers"]


def attend_in_gathers(
    value: Tensor,
    spatial_shapes: Tensor,
    level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
) -> Tensor:
    """``ms_deform_attn_reference`` of the same arguments, (B, Q, H * D), for a value that is not empty."""
    B, S, H, D = value.shape
    _, Q, _, L, P, _ = sampling_locations.shape
    rows = value.transpose(1, 2).reshape(B * H * S, D)
    first_row = (torch.arange(B * H, device=value.device) * S).view(B * H, 1, 1)
    locations = sampling_locations.transpose(1, 2).reshape(B * H, Q, L, P, 2)
    weights = attention_weights.transpose(1, 2).reshape(B * H, Q, L, P)
    output = torch.zeros(B * H, Q, D, dtype=locations.dtype, device=value.device)
    for level in range(L):
        start = first_row + level_start_index[level]
        output = output + _attend_level(
            rows, start, spatial_shapes[level], locations[:, :, level], weights[:, :, level]
        )
    return output.view(B, H, Q, D).transpose(1, 2).reshape(B, Q, H * D).to(value.dtype)


def _attend_level(rows: Tensor, start: Tensor, shape: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
    """(R, D) cells of all images and heads, those of this level from ``start`` (B * H, 1, 1) on -> (B * H, Q, D)."""
    size = shape.flip(0).to(locations.dtype)
    cells = locations * size - 0.5
    near = (cells >= -1) & (cells < size)
    reached = near[..., 0] & near[..., 1]
    cells = torch.where(reached.unsqueeze(-1), cells, 0.0)
    low = cells.floor()
    corners = torch.stack((low, low + 1))  # (2, B * H, Q, P, 2) xy
    shares = 1 - (cells - corners).abs()
    output = torch.zeros(*locations.shape[:2], rows.shape[-1], dtype=locations.dtype, device=rows.device)
    for right, down in product((0, 1), (0, 1)):
        x, y = corners[right, ..., 0], corners[down, ..., 1]
        inside = reached & (x >= 0) & (x < size[0]) & (y >= 0) & (y < size[1])
        index = start + torch.where(inside, y * size[0] + x, 0.0).long()
        share = torch.where(inside, weights * shares[right, ..., 0] * shares[down, ..., 1], 0.0)
        read = rows.index_select(0, index.reshape(-1)).view(*index.shape, -1).to(locations.dtype)
        read = torch.where(inside.unsqueeze(-1), read, 0.0)  # where not inside, some other cell, perhaps not finite
        output = output + (share.unsqueeze(-1) * read).sum(2)
    return output
