"""A large tensor that follows from smaller needs row by row: worked out whole, at some rows, or in pieces and summed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

IN_CACHE = 2**17
"""Numbers of a piece on the host: few enough to stay near the processor."""

AT_ONCE = 2**24
"""Numbers of a piece on other devices: enough to keep them busy."""


class Summand(Protocol):
    """What is summed over the last axis of values (R, C) of so many rows from `start` on."""

    def __call__(self, values: Tensor, rows: slice, /) -> tuple[Tensor, Tensor]:
        """The summands' sums (R,) and derivatives by the values (R, C)."""
        ...


@dataclass(frozen=True)
class Rows:
    """(B, N, C), whose rows a function makes of those of its inputs.

    Attributes:
        function: of tensors (..., ·) -> (..., C), row by row.
        inputs: its arguments, (B, N, ·).
    """

    function: Callable[..., Tensor]
    inputs: tuple[Tensor, ...]

    @property
    def shape(self) -> torch.Size:
        """(B, N, C)."""
        with torch.no_grad():
            none = self.function(*(values[:0] for values in self.inputs))
        return torch.Size((len(self.inputs[0]), *none.shape[1:]))

    def whole(self) -> Tensor:
        """(B, N, C), with gradient."""
        return self.function(*self.inputs)

    def at(self, image: Tensor, sample: Tensor) -> Tensor:
        """The rows (P, C) of samples (P,) of images (P,)."""
        return self.picked(image, sample).whole()[0]

    def picked(self, image: Tensor, sample: Tensor) -> Rows:
        """(1, P, C), likewise."""
        return Rows(self.function, tuple(values[image, sample][None] for values in self.inputs))

    def broken(self) -> Tensor:
        """(B, N) bool, which rows follow from something that is not a number."""
        largest = [values.amax(-1) for values in self.inputs]  # which keeps what is not a number
        return torch.stack(largest).isnan().any(0)

    def summed(self, summand: Summand) -> Tensor:
        """(B, N) sums of each row's summands, with gradient; never as large as (B, N, C) but for the gradient."""
        flat = [values.flatten(0, 1) for values in self.inputs]
        return _Summed.apply(self.function, summand, *flat).view(self.inputs[0].shape[:2])


class _Summed(Function):
    """Sums and gradient of one piece after the other, so that nothing is kept of a piece that has been summed."""

    @staticmethod
    def forward(ctx: Any, function: Callable[..., Tensor], summand: Summand, *inputs: Tensor) -> Tensor:
        sums = inputs[0].new_empty(len(inputs[0]))
        gradients = [torch.empty_like(values) for values in inputs]
        for rows in _pieces(inputs[0]):
            with torch.enable_grad():
                leaves = [values[rows].requires_grad_() for values in inputs]
                made = function(*leaves)
            sums[rows], slopes = summand(made, rows)
            for whole, part in zip(gradients, torch.autograd.grad(made, leaves, slopes), strict=True):
                whole[rows] = part
        ctx.save_for_backward(*gradients)
        return sums

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, *(own * gradient[:, None] for own in ctx.saved_tensors)


def _pieces(values: Tensor) -> Iterator[slice]:
    """Slices of the rows of values (R, C)."""
    numbers = IN_CACHE if values.device.type == "cpu" else AT_ONCE
    step = max(numbers // max(values.shape[1], 1), 1)
    return (slice(start, start + step) for start in range(0, len(values), step))
