"""A linear layer that autocast does not narrow, for numbers that are compared with one another."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear


class WideLinear(nn.Linear):
    """`nn.Linear` in its weights' precision, under autocast too.

    For logits that rank queries and for coordinates: a class logit starts at -4.6, where bfloat16 moves in steps of 1/32, so
    that of thousands of proposals most are level with others when the best are chosen.

    >>> layer = WideLinear(2, 1)
    >>> with torch.autocast("cpu", torch.bfloat16):
    ...     layer(torch.zeros(1, 2, dtype=torch.bfloat16)).dtype
    torch.float32
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.is_meta or not torch.is_autocast_enabled(x.device.type):  # which asks nobody about meta tensors
            return super().forward(x)
        with torch.autocast(x.device.type, enabled=False):
            return linear(x.to(self.weight.dtype), self.weight, self.bias)
