"""What matchings share: turning dense answers into pairs, and settling samples that several targets claim."""

from __future__ import annotations

import torch
from torch import Tensor

from ..boxes import covered_share, squares
from ..structures import BACKGROUND, Matches, Predictions, Targets


def prior_boxes(predictions: Predictions, scale: float) -> Tensor:
    """(N, 4) the predictions' anchor boxes, or squares of `scale` strides around their points."""
    if predictions.priors is not None:
        return predictions.priors
    if predictions.points is None or predictions.strides is None:
        raise ValueError("predictions: this matching needs priors, or points and strides to draw squares; got neither")
    return squares(predictions.points, scale * predictions.strides)


def real_pairs(predictions: Predictions, targets: Targets) -> Tensor:
    """(B, N, M) or broadcastable bool: valid sample and real target."""
    real = targets.mask[:, None, :]
    return real if predictions.valid is None else real & predictions.valid[:, :, None]


def matches_from_target(target: Tensor, score: Tensor | None = None, ignored: Tensor | None = None) -> Matches:
    """Pairs from the one target of each sample.

    Args:
        target: (B, N) long, BACKGROUND where a sample has none.
        score: (B, N) the match score of that pair, or None for 1.
        ignored: (B, N) bool or None.
    """
    image, sample = (target != BACKGROUND).nonzero(as_tuple=True)
    chosen = score[image, sample] if score is not None else torch.ones_like(image, dtype=torch.get_default_dtype())
    return Matches(image, sample, target[image, sample], chosen, ignored)


def inside_ignored(priors: Tensor, targets: Targets, threshold: float) -> Tensor | None:
    """(B, N) bool: priors (N, 4) of which more than `threshold` lies in an ignore region; None where there are none.

    A threshold of 0 or less switches ignoring off.
    """
    if targets.ignore_boxes is None or threshold <= 0 or targets.ignore_boxes.shape[1] == 0:
        return None
    share = covered_share(priors[None, :, None], targets.ignore_boxes[:, None])  # (B, N, I)
    return (share.masked_fill(~targets.ignore_mask[:, None], 0) > threshold).any(-1)


def keep_best_target(matches: Matches, key: Tensor, num_slots: int, num_samples: int, num_targets: int) -> Matches:
    """Leave each sample only the pair with the largest `key` (P,); an exact tie goes to the lower target index.

    `num_slots` is B * num_samples, the number of samples in the batch.
    """
    slot = matches.image * num_samples + matches.sample
    best = key.new_full((num_slots,), -torch.inf).scatter_reduce_(0, slot, key, "amax")
    leads = key == best[slot]
    rank = torch.where(leads, matches.target, num_targets)
    first = rank.new_full((num_slots,), num_targets).scatter_reduce_(0, slot, rank, "amin")
    return matches.select(leads & (matches.target == first[slot]))
