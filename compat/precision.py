"""The one rule about 16-bit floats that the ops of this package share."""

import torch
from torch import Tensor

__all__ = ["at_least_float32"]


def at_least_float32(tensor: Tensor) -> Tensor:
    """The tensor in float32, or in float64 where it is that already.

    torchvision's kernels lack some 16-bit types on some devices; results are cast back when they are written.
    """
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
