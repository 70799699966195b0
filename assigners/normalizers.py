"""What the sums of a loss are divided by: averaged over the ranks of a distributed job, and never too small."""

from __future__ import annotations

import torch
from torch import Tensor, distributed


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
