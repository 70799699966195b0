"""Dropout that is quick on the CPU, where drawing takes most of torch's own."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...ops import dropout
from ...ops._library import has_kernels

SEEDS = torch.iinfo(torch.int64).max


class Dropout(nn.Dropout):
    """`torch.nn.Dropout`, quicker on the CPU but under tracers, which take torch's; its `inplace` has no effect."""

    def forward(self, x: Tensor) -> Tensor:
        return drop(x, self.p) if self.training else x


def draws_quickly(x: Tensor) -> bool:
    """Whether `drop` has a way of its own for this tensor: on the CPU, where its numbers can be read and no graph is drawn."""
    is_traced = torch.compiler.is_compiling() or torch.jit.is_tracing() or type(x) not in (Tensor, nn.Parameter)
    return x.device.type == "cpu" and has_kernels("cpu") and not is_traced


def drop(x: Tensor, probability: float) -> Tensor:
    """Zero entries at random and scale the others so that the mean stays.

    Args:
        x: any shape.
        probability: of zero, 0 <= probability <= 1; on the CPU to the nearest of 1 / 65536.

    >>> drop(torch.ones(3), 0.0)
    tensor([1., 1., 1.])
    """
    if probability == 0.0:
        return x
    if not draws_quickly(x) or probability >= 1.0:
        return nn.functional.dropout(x, probability)
    return dropout(x, probability, int(torch.randint(SEEDS, (), device="cpu")))
