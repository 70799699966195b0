"""Between boxes and logits: the arithmetic of references that move."""

from __future__ import annotations

import torch
from torch import Tensor


def wide_dtype(numbers: Tensor) -> torch.dtype:
    """Of boxes beside such numbers, float32 at least: a step of bfloat16 is more than two pixels of a large image."""
    return torch.promote_types(numbers.dtype, torch.float32)


def shares(logits: Tensor) -> Tensor:
    """Sigmoid, wide enough for boxes."""
    return logits.to(wide_dtype(logits)).sigmoid()


def inverse_sigmoid(share: Tensor, eps: float) -> Tensor:
    """Logit of shares in [0, 1]; both the share and what is left of it are floored at `eps`.

    The families differ in eps: 1e-5 in Conditional and Deformable DETR, 1e-3 in DAB-DETR and what followed.

    >>> inverse_sigmoid(Tensor([0.5, 1.0]), eps=1e-3).tolist()
    [0.0, 6.90775...]
    """
    share = share.clamp(0, 1)
    return (share.clamp(min=eps) / (1 - share).clamp(min=eps)).log()
