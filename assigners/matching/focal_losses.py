"""The focal loss that each pair of a matching would have, for matchings that choose by it."""

from __future__ import annotations

import torch
from torch import Tensor

from ..scores import Scores
from ..structures import Matches, Targets


def focal_losses(scores: Scores, pairs: Matches, targets: Targets, alpha: float, gamma: float) -> Tensor:
    """(P,) focal loss of each pair's sample over all classes, without those that are spared there.

    What a sample costs as background is added up once, and a pair's only where its target's class changes it.
    """

    def as_negative(log_absent: Tensor) -> Tensor:
        return (1 - alpha) * (-torch.expm1(log_absent)) ** gamma * -log_absent

    every, labels = as_negative(scores.log_absent), pairs.labels(targets)
    if pairs.spared is not None:
        every = every.masked_fill(pairs.spared_entries(targets, every.shape), 0)
    wrong = as_negative(scores.log_absent[pairs.image, pairs.sample, labels])
    log_present = scores.log_present(pairs, labels)
    positive = alpha * (-torch.expm1(log_present)) ** gamma * -log_present
    return every.sum(-1)[pairs.image, pairs.sample] - wrong + positive
