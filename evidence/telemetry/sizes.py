"""Sizes of objects as COCO names them."""

from __future__ import annotations

from torch import Tensor

from ...data.statistics import SIZE_LIMITS

SIZES = ("small", "medium", "large")


def size_of(areas: Tensor) -> Tensor:
    """Index among SIZES of areas in pixels of the stored image; waits for no device.

    >>> import torch
    >>> size_of(torch.tensor([1023.0, 1024.0, 9216.0]))
    tensor([0, 1, 2])
    """
    return sum((areas >= limit).long() for limit in SIZE_LIMITS)


def name_of(area: float) -> str:
    """Name of the size of an area.

    >>> name_of(1024)
    'medium'
    """
    return SIZES[sum(area >= limit for limit in SIZE_LIMITS)]
