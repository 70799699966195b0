"""What matchings share: turning dense answers into pairs, and settling samples that several targets claim."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from ..boxes import center, covered_share, sides, squares
from ..needs import required
from ..structures import BACKGROUND, Matches, Predictions, Targets
from .regions import Region

Conflict = Literal["best", "last"]
"""Which target keeps a sample that several take: the one that it is best for, or the last of the list, as some code has it."""

Claimants = Literal["holders", "all"]
"""See `settle_conflicts`."""

PAIRS_AT_ONCE = 2**24
"""Pairs of a sample and a target that are compared at a time: bounds what crowded images cost in memory."""

PAIRS_IN_CACHE = 2**21
"""The same where numbers are worked out for every pair: few enough to stay near the processor."""


def prior_boxes(predictions: Predictions, scale: float) -> Tensor:
    """(1, N, 4) or (B, N, 4) the predictions' anchor boxes, or squares of `scale` strides around their points."""
    if predictions.priors is not None:
        return predictions.all_priors
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
    return candidate_pairs(predictions, targets, chunk=chunk)


def candidate_pairs(
    predictions: Predictions,
    targets: Targets,
    inside: bool = True,
    margin: float = 0.0,
    min_side: float = 0.0,
    radius: float | None = None,
    chunk: int | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Image, sample and target (P,) of all pairs whose point lies where the target's samples may be, in that order.

    Args:
        inside: the point must lie in the box, farther than `margin` pixels from every side.
        margin: see inside.
        min_side: sides shorter than this, pixels, count as so long about their centre.
        radius: the point must lie in the square of this half side, in strides of its level, around the box's centre; with
            `inside` that is the square cut to the box. None asks for no square.
        chunk: targets to compare with at a time, to bound memory; None takes as many as `PAIRS_AT_ONCE` allows.
    """
    images, samples = predictions.logits.shape[:2]
    count = targets.boxes.shape[1]
    step = chunk or max(PAIRS_AT_ONCE // max(images * samples, 1), 1)
    region = Region(inside, margin, radius) if inside or radius is not None else None
    enlarged = replace(targets, boxes=_at_least(targets.boxes, min_side))
    parts = []
    for start in range(0, max(count, 1), step):
        part = enlarged.part(start, start + step)
        fits = real_pairs(predictions, part).expand(images, samples, -1)
        if region is not None:
            fits = fits & _held(region, predictions, part)
        image, sample, target = fits.nonzero(as_tuple=True)
        parts.append((image, sample, target + start))
    image, sample, target = (torch.cat(column) for column in zip(*parts, strict=True))
    if len(parts) == 1:
        return image, sample, target
    order = ((image * samples + sample) * count + target).argsort()
    return image[order], sample[order], target[order]


def _held(region: Region, predictions: Predictions, targets: Targets) -> Tensor:
    """(B, N, M) bool, whether each sample lies in each target's region; compared piece by piece, in the processor's cache."""
    images, samples = predictions.logits.shape[:2]
    count = targets.boxes.shape[1]
    step = max(PAIRS_IN_CACHE // max(images * samples, 1), 1)
    result = torch.empty(images, samples, count, dtype=torch.bool, device=targets.boxes.device)
    for start in range(0, count, step):
        piece = targets.part(start, start + step)
        result[..., start : start + step] = region.holds(predictions, piece).transpose(1, 2)
    return result


def near_candidates(predictions: Predictions, targets: Targets, radius: float | None) -> Matches:
    """Pairs, scored 1, whose point lies in the box and near its centre."""
    image, sample, target = candidate_pairs(predictions, targets, radius=radius)
    return Matches(image, sample, target, predictions.boxes.new_ones(len(image)))


def _at_least(boxes: Tensor, side: float) -> Tensor:
    """Boxes (..., 4) whose sides shorter than `side` are that long, about the same centre."""
    if side <= 0:
        return boxes
    middle, half = center(boxes), sides(boxes).clamp(min=side) / 2
    return torch.cat([middle - half, middle + half], -1)


def target_chunks(predictions: Predictions, targets: Targets) -> Iterator[slice]:
    """Slices of the targets, one at least, that numbers are worked out of for all samples at a time.

    So many that on the host they stay near the processor, and on a GPU that memory allows.
    """
    at_once = PAIRS_IN_CACHE if targets.boxes.device.type == "cpu" else PAIRS_AT_ONCE
    count, step = targets.boxes.shape[1], max(at_once // max(predictions.logits[..., 0].numel(), 1), 1)
    for start in range(0, max(count, 1), step):
        yield slice(start, min(start + step, count))


def overlapping_pairs(predictions: Predictions, targets: Targets) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Image, sample and target (P,) of the real pairs whose boxes share an area, so many targets at a time as memory allows."""
    (x1, y1), (x2, y2) = (corner[:, :, None].unbind(-1) for corner in predictions.boxes.split(2, -1))
    for part in target_chunks(predictions, targets):
        piece = targets.part(part.start, part.stop)
        left, top, right, bottom = piece.boxes[:, None].unbind(-1)
        shared = (x1 < right) & (y1 < bottom) & (left < x2) & (top < y2)
        image, sample, target = (real_pairs(predictions, piece) & shared).nonzero(as_tuple=True)
        yield image, sample, target + part.start


def found_in_parts(parts: Iterable[tuple[Tensor, Tensor, Tensor, Tensor]]) -> Matches:
    """Pairs from the image, sample, target and score, each (P,), of one part of them after the other."""
    image, sample, target, score = (torch.cat(column) for column in zip(*parts, strict=True))
    return Matches(image, sample, target, score)


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
    real = required("ignore_mask", targets.ignore_mask)
    return (share.masked_fill(~real[:, None], 0) > threshold).any(-1)


def with_ignored(matches: Matches, ignored: Tensor | None) -> Matches:
    """The pairs beside ignored samples (B, N) bool or None; a sample of a pair is never ignored."""
    if ignored is None:
        return matches
    ignored = ignored.clone()
    ignored[matches.image, matches.sample] = False
    return replace(matches, ignored=ignored)


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


def settle_conflicts(
    candidates: Matches,
    chosen: Tensor,
    key: Tensor,
    predictions: Predictions,
    targets: Targets,
    among: Claimants = "holders",
) -> Tensor:
    """(P,) which of the `chosen` (P,) candidates stay when every sample answers for one target.

    A sample that several targets chose goes to the one with the largest `key` (P,): of those that chose it ("holders"), or
    of all whose candidate it is ("all"; such a target may not have asked for it). An exact tie goes to the lower target.
    """
    slot = candidates.image * predictions.logits.shape[1] + candidates.sample
    holders = torch.zeros(predictions.logits.shape[:2].numel(), dtype=torch.long, device=slot.device)
    contested = holders.index_add_(0, slot, chosen.long())[slot] > 1
    eligible = chosen if among == "holders" else chosen | contested
    best = key.new_full(holders.shape, -torch.inf)
    best = best.scatter_reduce_(0, slot, key.masked_fill(~eligible, -torch.inf), "amax")[slot]
    rank = torch.where(eligible & (key == best), candidates.target, targets.boxes.shape[1])
    first = torch.full_like(holders, targets.boxes.shape[1]).scatter_reduce_(0, slot, rank, "amin")[slot]
    return torch.where(contested, candidates.target == first, chosen)
