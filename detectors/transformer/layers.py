"""Small layers shared by encoder and decoder."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from .dropout import Dropout

Activation = Literal["relu", "prelu", "gelu"]


class ReLUBothWays(nn.Module):
    """ReLU that writes over its input and, on the way back, over the gradient.

    For hidden layers: what comes back to them is the fresh product of a linear layer's backward, which nobody else
    reads. Large hidden layers take longer to allocate than to rectify.
    """

    def forward(self, x: Tensor) -> Tensor:
        if torch.compiler.is_compiling() or torch.jit.is_tracing():
            return torch.relu(x)
        return _ReLUBothWays.apply(x)


class _ReLUBothWays(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.mark_dirty(x)
        x.relu_()
        ctx.save_for_backward(x)
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (output,) = ctx.saved_tensors
        return torch.ops.aten.threshold_backward.grad_input(grad, output, 0, grad_input=grad)


ACTIVATIONS = {"relu": ReLUBothWays, "prelu": nn.PReLU, "gelu": nn.GELU}


class FeedForward(nn.Module):
    """Two linear layers with an activation and dropout between them.

    Args:
        channels: in and out.
        hidden: between.
        activation: relu, gelu, or prelu, which learns one slope.
        dropout: probability, after the activation.
    """

    def __init__(self, channels: int, hidden: int, activation: Activation = "relu", dropout: float = 0.0) -> None:
        super().__init__()
        self.linear1 = nn.Linear(channels, hidden)
        self.activation = make_activation(activation)
        self.dropout = Dropout(dropout)
        self.linear2 = nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.linear1(x.flatten(0, -2))  # as a matrix: in place on a view would be copied again and again
        return self.linear2(self.dropout(self.activation(hidden))).view_as(x)


def make_activation(name: str) -> nn.Module:
    """An activation by name.

    Raises:
        ValueError: for an unknown one.
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"activation: expected one of {', '.join(ACTIVATIONS)}, got {name!r}")
    return ACTIVATIONS[name]()


def check_heads(channels: int, heads: int) -> None:
    """Raise ValueError when attention heads, or the sines and cosines of x and y, cannot share the channels evenly."""
    if heads < 1 or channels % heads:
        raise ValueError(f"heads: expected a divisor of the {channels} channels, got {heads}")
    if channels % 4:
        raise ValueError(f"channels: expected a multiple of 4, for sine and cosine of x and y, got {channels}")


def xavier_(module: nn.Module) -> None:
    """Draw every parameter of two or more dimensions Xavier-uniform, as all papers of the family do."""
    for parameter in module.parameters():
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)
