"""Pairs that a matching gives up without having their samples learn that the object's class is absent."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ..structures import Matches, Targets


def parted(pairs: Matches, kept: Tensor, targets: Targets) -> Matches:
    """The pairs that are `kept` (P,); the classes of the others are spared."""
    order = (~kept).long().argsort(stable=True)
    count = int(kept.sum())  # the one number that both parts wait for
    lost = pairs.select(order[count:])
    spared = torch.stack([lost.image, lost.sample, lost.labels(targets)])
    if pairs.spared is not None:
        spared = torch.cat([pairs.spared, spared], 1)
    return replace(pairs.select(order[:count]), spared=spared)
