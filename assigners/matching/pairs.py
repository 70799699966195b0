"""What matchings share: turning dense answers into pairs, and settling samples that several targets claim."""

from __future__ import annotations

import torch
from torch import Tensor

from ..boxes import covered_share, squares, strictly_inside
from ..structures import BACKGROUND, Matches, Predictions, Targets


def prior_boxes(predictions: Predictions, scale: float) -> Tensor:
    """(1, N, 4) or (B, N, 4) the predictions' anchor boxes, or squares of `scale` strides around their points."""
    if predictions.priors is not None:
        return predictions.priors if predictions.priors.dim() == 3 else predictions.priors[None]
    if predictions.points is None or predictions.strides is None:
        raise ValueError("predictions: this matching needs priors, or points and strides to draw squares; got neither")
    return squares(predictions.all_points, scale * predictions.all_strides)


def prior_boxes_at(priors: Tensor, image: Tensor, sample: Tensor) -> Tensor:
    """(..., 4) the prior (1 or B, N, 4) of each sample (...) of an image (...) that broadcasts with it."""
    return priors[0][sample] if len(priors) == 1 else priors[image, sample]


def real_pairs(predictions: Predictions, targets: Targets) -> Tensor:
    """(B, N, M) or broadcastable bool: valid sample and real target."""
    real = targets.mask[:, None, :]
    return real if predictions.valid is None else real & predictions.valid[:, :, None]


def inside_pairs(predictions: Predictions, targets: Targets, chunk: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Image, sample and target (P,) of all pairs whose point lies strictly inside the box, in the order of those three.

    `chunk` compares with so many targets at a time, to bound memory; the pairs are the same.
    """
    num_samples, num_targets = predictions.logits.shape[1], targets.boxes.shape[1]
    step = chunk or max(num_targets, 1)
    parts = [_inside_pairs(predictions, targets, start, start + step) for start in range(0, max(num_targets, 1), step)]
    image, sample, target = (torch.cat(column) for column in zip(*parts, strict=True))
    if len(parts) == 1:
        return image, sample, target
    order = ((image * num_samples + sample) * num_targets + target).argsort()
    return image[order], sample[order], target[order]


def _inside_pairs(predictions: Predictions, targets: Targets, start: int, stop: int) -> tuple[Tensor, Tensor, Tensor]:
    inside = strictly_inside(predictions.all_points[:, :, None], targets.boxes[:, None, start:stop])  # (B, N, ...)
    image, sample, target = (inside & real_pairs(predictions, targets)[..., start:stop]).nonzero(as_tuple=True)
    return image, sample, target + start


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
    """(B, N) bool: priors (1 or B, N, 4) of which more than `threshold` lies in an ignore region; None where there are none.

    A threshold of 0 or less switches ignoring off.
    """
    if targets.ignore_boxes is None or threshold <= 0 or targets.ignore_boxes.shape[1] == 0:
        return None
    share = covered_share(priors[:, :, None], targets.ignore_boxes[:, None])  # (B, N, I)
    return (share.masked_fill(~targets.ignore_mask[:, None], 0) > threshold).any(-1)


def keep_best_target(matches: Matches, key: Tensor, predictions: Predictions, targets: Targets) -> Matches:
    """Leave each sample only the pair with the largest `key` (P,); an exact tie goes to the lower target index."""
    images, samples = predictions.logits.shape[:2]
    num_targets = targets.boxes.shape[1]
    slot = matches.image * samples + matches.sample
    best = key.new_full((images * samples,), -torch.inf).scatter_reduce_(0, slot, key, "amax")
    leads = key == best[slot]
    rank = torch.where(leads, matches.target, num_targets)
    first = rank.new_full((images * samples,), num_targets).scatter_reduce_(0, slot, rank, "amin")
    return matches.select(leads & (matches.target == first[slot]))
