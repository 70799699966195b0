"""What the sums of a loss are divided by: averaged over the ranks of a distributed job, and never too small."""

from __future__ import annotations

import torch
from torch import Tensor, distributed, nn


def mean_over_ranks(value: Tensor) -> Tensor:
    """The average of `value` over all processes; itself, detached, where there is one process."""
    value = value.detach()
    if not (distributed.is_available() and distributed.is_initialized()):
        return value
    value = value.clone()
    distributed.all_reduce(value)
    return value / distributed.get_world_size()


def normalizers(
    positive: Tensor, negative: Tensor, box: Tensor, floor: tuple[float, float, float] = (1.0, 1.0, 1.0)
) -> Tensor:
    """(3, ...) Z⁺, Z⁻, Z° from this rank's raw scalars or (G,) values: one reduction for all, each floored.

    >>> normalizers(torch.tensor(0.0), torch.tensor(3.0), torch.tensor(0.5))
    tensor([1., 3., 1.])
    """
    raw = mean_over_ranks(torch.stack([positive, negative, box]))
    return torch.stack([value.clamp(min=least) for value, least in zip(raw, floor, strict=True)])


class SteadyNormalizers(nn.Module):
    """Floors normalisers by a share of their own running mean, which is state of a checkpoint.

    Args:
        share: of the running mean.
        momentum: how much of the mean stays at each step.
    """

    mean: Tensor
    steps: Tensor

    def __init__(self, share: float = 1.0, momentum: float = 0.99) -> None:
        super().__init__()
        if not 0 < share <= 1:
            raise ValueError(f"steady: expected a share from 0 to 1, got {share}")
        self.share = share
        self.momentum = momentum
        self.register_buffer("mean", torch.zeros(3))
        self.register_buffer("steps", torch.zeros(()))

    def forward(self, values: Tensor, learn: bool) -> Tensor:
        """(3, ...) normalisers, floored; with `learn` the mean over their groups takes part in the running one."""
        if learn:
            batch = values.detach().reshape(3, -1).mean(1).to(self.mean)
            self.mean.mul_(self.momentum).add_(batch, alpha=1 - self.momentum)
            self.steps.add_(1)
        mean = self.mean / (1 - self.momentum**self.steps).clamp(min=1e-6)  # as if it had not started at zero
        return torch.maximum(values, (self.share * mean).to(values).view(3, *[1] * (values.dim() - 1)))
