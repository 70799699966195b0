"""The small network that query detectors use for boxes, points and scales."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn.functional import relu


class MLP(nn.Module):
    """Linear layers with ReLU between them, of the given widths; the last may be a `WideLinear`, for coordinates.

    >>> [tuple(layer.weight.shape) for layer in MLP(8, 16, 4).layers]
    [(16, 8), (4, 16)]
    """

    def __init__(self, *widths: int, last: type[nn.Linear] = nn.Linear) -> None:
        super().__init__()
        *inner, (channels, out) = pairwise(widths)
        self.layers = nn.ModuleList([*(nn.Linear(*each) for each in inner), last(channels, out)])

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = relu(layer(x))
        return self.layers[-1](x)
