"""The sample points of a feature pyramid."""

from __future__ import annotations

import torch
from torch import Tensor


def level_points(height: int, width: int, stride: int, like: Tensor, offset: float = 0.5) -> Tensor:
    """(H, W, 2) xy in pixels of the cells of one level: (index + offset) * stride.

    >>> level_points(1, 2, 8, torch.zeros(())).tolist()
    [[[4.0, 4.0], [12.0, 4.0]]]
    """
    y = (torch.arange(height, device=like.device, dtype=like.dtype) + offset) * stride
    x = (torch.arange(width, device=like.device, dtype=like.dtype) + offset) * stride
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)


def flatten_levels(maps: list[Tensor]) -> Tensor:
    """Level maps (B, K, H_l, W_l) -> (B, N, K), ordered by level, row, column."""
    return torch.cat([level_map.flatten(2).transpose(1, 2) for level_map in maps], 1)
