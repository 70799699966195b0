"""Small layers shared by encoder and decoder."""

from __future__ import annotations

from functools import partial
from typing import Literal

from torch import Tensor, nn

from .dropout import Dropout

Activation = Literal["relu", "prelu", "gelu"]
ACTIVATIONS = {"relu": partial(nn.ReLU, inplace=True), "prelu": nn.PReLU, "gelu": nn.GELU}


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


def xavier_(module: nn.Module) -> None:
    """Draw every parameter of two or more dimensions Xavier-uniform, as all papers of the family do."""
    for parameter in module.parameters():
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)
