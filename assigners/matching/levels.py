"""Pairs by object and level."""

from __future__ import annotations

import torch
from torch import Tensor

from ...ops.transfer import to_device
from ..structures import Matches, Predictions, Targets


def level_groups(pairs: Matches, predictions: Predictions, targets: Targets) -> Tensor:
    """(P,) a number for the target and level of each pair, target * levels + level; without levels there is one."""
    if predictions.level_sizes is None:
        return pairs.flat_target(targets)
    ends = to_device(torch.tensor(predictions.level_sizes).cumsum(0), pairs.sample.device)
    return pairs.flat_target(targets) * len(ends) + torch.bucketize(pairs.sample, ends, right=True)
