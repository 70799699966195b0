"""Ranks inside groups."""

from __future__ import annotations

import torch
from torch import Tensor


def rank_within(group: Tensor, *scores: Tensor) -> Tensor:
    """Position of each entry among those of its group, by falling score: (P,) long groups, (P,) scores -> (P,) from 0.

    Of equal scores the one with the larger next score comes first, in the end the first of the list.

    >>> rank_within(torch.tensor([0, 1, 0, 0]), torch.tensor([0.1, 0.2, 0.9, 0.5])).tolist()
    [2, 0, 0, 1]
    """
    order = torch.arange(len(group), device=group.device)
    for score in reversed(scores):
        order = order[score[order].argsort(descending=True, stable=True)]
    order = order[group[order].argsort(stable=True)]  # grouped, and falling inside each group
    sorted_group = group[order]
    position = torch.arange(len(group), device=group.device)
    starts = torch.ones_like(sorted_group, dtype=torch.bool)
    starts[1:] = sorted_group[1:] != sorted_group[:-1]
    first = torch.where(starts, position, 0).cummax(0).values if len(group) else position
    return torch.empty_like(position).scatter_(0, order, position - first)
