"""Dropout that draws four numbers at a time on the CPU, where drawing takes most of torch's own."""

from __future__ import annotations

import torch
from torch import Tensor, nn

LANES = 4  # 16-bit numbers in a draw of 64 bits
STEPS = 1 << 16


class Dropout(nn.Dropout):
    """`torch.nn.Dropout`, quicker on the CPU; its `inplace` has no effect."""

    def forward(self, x: Tensor) -> Tensor:
        return drop(x, self.p) if self.training else x


def draws_quickly(x: Tensor) -> bool:
    """Whether `drop` has a way of its own for this tensor."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def drop(x: Tensor, probability: float) -> Tensor:
    """Zero entries at random and scale the others so that the mean stays.

    Args:
        x: any shape.
        probability: of zero, 0 <= probability < 1; on the CPU to the nearest of 1 / 65536.

    >>> drop(torch.ones(3), 0.0)
    tensor([1., 1., 1.])
    """
    if probability == 0.0:
        return x
    if not draws_quickly(x) or probability >= 1.0:
        return nn.functional.dropout(x, probability)
    return x * _noise(x, probability)


def _noise(x: Tensor, probability: float) -> Tensor:
    """Zeros and 1 / share kept, of the shape and type of x."""
    dropped = min(round(probability * STEPS), STEPS - 1)
    draws = torch.empty(-(-x.numel() // LANES), dtype=torch.int64).random_(torch.iinfo(torch.int64).min, None)
    lanes = draws.view(torch.int16)[: x.numel()].view(x.shape)
    noise = torch.ge(lanes, dropped - STEPS // 2, out=x.new_empty(x.shape))
    return noise.mul_(STEPS / (STEPS - dropped))
