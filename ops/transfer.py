"""Copies between devices."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["to_device"]


def to_device(tensor: Tensor, device: torch.device | str, dtype: torch.dtype | None = None) -> Tensor:
    """The tensor on a device, itself if it is there; a copy to a GPU is queued and not waited for.

    CUDA takes its own copy of pageable memory before it returns, and torch's allocator keeps pinned memory until the copy
    is done, so the tensor may be dropped at once; one in pinned memory must not be changed. Copies to the host are waited
    for: who has them reads them.

    >>> to_device(torch.zeros(2), "cpu", torch.float64).dtype
    torch.float64
    """
    device = torch.device(device)
    return tensor.to(device, dtype, non_blocking=device.type == "cuda")
