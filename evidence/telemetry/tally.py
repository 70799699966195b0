"""Sums over what an assigner did in training steps, and what they say once they are summed up.

A tally is sums alone, so tallies of steps and of processes add up. It is worked out on the device and waits for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...assigners import Assignment, Matches, Predictions, Targets
from .scores import Scoring, score_and_iou
from .sizes import SIZES, size_of

__all__ = ["count", "layer_names", "pearson", "summarise", "tally"]


def count(assignment: Assignment, targets: Targets) -> dict[str, Tensor]:
    """What is counted of every run, summed over a batch: targets, those without a pair of w⁺ > 0, such pairs, effective ones.

    Targets count once for every group of predictions; steps are 1.
    """
    found = _of_targets(assignment, targets)
    sums = {name: found[name].sum() for name in ("targets", "without", "pairs", "effective")}
    return sums | {"steps": torch.ones_like(sums["pairs"])}


@torch.no_grad()
def tally(
    assignment: Assignment, predictions: Predictions, targets: Targets, areas: Tensor, scoring: Scoring
) -> dict[str, Tensor]:
    """The sums of one batch.

    Args:
        assignment: of the batch.
        predictions, targets: what was asked; of G * B images, where predictions are in G groups (decoder layers).
        areas: (G * B, M) of the targets, pixels of the stored images; they decide on sizes.
        scoring: the assigner's `pair_scores`.

    Returns:
        targets, without, effective: (3, G) by size and group: objects, those without a pair of w⁺ > 0, effective positives.
        pairs, weight: (3, L) by size and level, which is the group where there are some: pairs of w⁺ > 0, and their w⁺.
        class_targets, class_weight: (C,) objects and w⁺.
        claimed: (2,) samples that an object claims with w⁺ > 0, and those that several do.
        best: (2,) the share of its w⁺ that an object has in its best pair, added up over objects, and how many objects.
        agreement: (6,) of the pairs of the group that detects: their number, Σs, Σi, Σs², Σi², Σsi of score and IoU.
        steps: 1. Further strides, (L,) of a pyramid, or layers, the number of decoder layers.
    """
    matches, weight, groups = assignment.matches, assignment.positive.detach(), predictions.groups or 1
    of_targets, size = _of_targets(assignment, targets), size_of(areas)
    learns = (weight > 0).to(weight.dtype)
    group = torch.arange(groups, device=size.device).repeat_interleave(len(size) // groups)
    place = size * groups + group[:, None]  # of an object
    own = {name: _sums(place, of_targets[name], len(SIZES), groups) for name in ("targets", "without", "effective")}
    level, levels = (
        _levels(predictions, matches.sample) if predictions.groups is None else (group[matches.image], groups)
    )
    pair_place, classes = size[matches.image, matches.target] * levels + level, assignment.pushes.shape[-1]
    return {
        **own,
        "pairs": _sums(pair_place, learns, len(SIZES), levels),
        "weight": _sums(pair_place, weight, len(SIZES), levels),
        "class_targets": _sums(targets.labels, of_targets["targets"], classes),
        "class_weight": _sums(targets.labels, of_targets["weight"], classes),
        "claimed": _claimed(assignment, learns),
        "best": _best(assignment, of_targets["weight"], targets),
        "agreement": _agreement(matches, predictions, targets, scoring, learns),
        "steps": weight.new_ones(()),
        **_names_of_levels(predictions, weight),
    }


def summarise(sums: Mapping[str, Tensor], classes: Sequence[str], processes: int = 1) -> dict[str, Any]:
    """What the sums of some steps say, in plain values; None where nothing was seen.

    Args:
        sums: tallies, added up, on the host.
        classes: names by label.
        processes: that had a share of every step, each with a tally of its own.
    """
    objects, pairs = sums["targets"], sums["pairs"]
    layered = "strides" not in sums
    names = _level_names(sums)
    shown = objects.sum(1) / objects.shape[1]  # objects, each counted once
    of_level = objects.sum(0).expand(len(names))
    by_size = {
        "positives": pairs.sum(1) / objects.sum(1),
        "effective": sums["effective"].sum(1) / objects.sum(1),
        "without": sums["without"].sum(1) / objects.sum(1),
        "weight": sums["weight"].sum(1) / objects.sum(1),
        "weight_share": sums["weight"].sum(1) / sums["weight"].sum(),
        "targets": shown,
    }
    claimed, best = sums["claimed"], sums["best"]
    return {
        "steps": int(sums["steps"]) // processes,
        "levels": "decoder layers" if layered else "strides",
        **{f"{name}_by_size": _named(SIZES, values) for name, values in by_size.items()},
        "positives_by_level": _named(names, pairs.sum(0) / of_level),
        "positives_by_size_and_level": {
            size: _named(names, row / seen)
            for size, row, seen in zip(SIZES, pairs, objects.expand_as(pairs), strict=True)
        },
        "weight_by_class": _named(classes, sums["class_weight"] / sums["class_targets"]),
        "weight_share_by_class": _named(classes, sums["class_weight"] / sums["class_weight"].sum()),
        "contested": _plain(claimed[1] / claimed[0]),
        "best_share": _plain(best[0] / best[1]),
        "pearson": pearson(sums["agreement"]),
    }


def pearson(sums: Tensor) -> float | None:
    """Pearson's correlation from the number of pairs and the sums of x, y, x², y², xy; None where either does not vary.

    >>> pearson(torch.tensor([3.0, 6.0, 12.0, 14.0, 56.0, 28.0]))  # (1, 2), (2, 4), (3, 6)
    1.0
    """
    n, x, y, xx, yy, xy = sums.double().tolist()
    spread, other = n * xx - x * x, n * yy - y * y
    least = 1e-12 * max(n, 1.0) ** 2
    return (n * xy - x * y) / (spread * other) ** 0.5 if min(spread, other) > least else None


def _of_targets(assignment: Assignment, targets: Targets) -> dict[str, Tensor]:
    """(B, M) of each target, 0 in padding: that it is one, that it has no pair, its pairs, effective positives and w⁺."""
    real, pairs = targets.mask, assignment.pairs_per_target(targets)
    return {
        "targets": real,
        "without": real & (pairs == 0),
        "pairs": pairs,
        "effective": assignment.effective_positives(targets),
        "weight": assignment.weight_per_target(targets),
    }


def _sums(place: Tensor, values: Tensor, *shape: int) -> Tensor:
    """Values added up by their place in a tensor of this shape."""
    total = torch.zeros(shape, dtype=torch.float64, device=values.device)
    total.view(-1).index_add_(0, place.reshape(-1), values.reshape(-1).double())
    return total


def _levels(predictions: Predictions, sample: Tensor) -> tuple[Tensor, int]:
    """(P,) level of a pyramid that each sample is on, and the number of levels."""
    ends = np.cumsum(_level_sizes(predictions)).tolist()
    return sum(((sample >= end).long() for end in ends[:-1]), torch.zeros_like(sample)), len(ends)


def _level_sizes(predictions: Predictions) -> tuple[int, ...]:
    """Samples on each level; all are on one where the predictions have none."""
    return predictions.level_sizes or (predictions.logits.shape[1],)


def _names_of_levels(predictions: Predictions, like: Tensor) -> dict[str, Tensor]:
    if predictions.groups is not None:
        return {"layers": like.new_full((), predictions.final_group + 1)}
    if predictions.strides is None:
        return {"strides": like.new_zeros(len(_level_sizes(predictions)))}
    firsts = np.cumsum([0, *_level_sizes(predictions)[:-1]]).tolist()
    return {"strides": torch.stack([predictions.all_strides[0, first] for first in firsts])}


def _claimed(assignment: Assignment, learns: Tensor) -> Tensor:
    """(2,) samples with a pair of w⁺ > 0, and those with several."""
    images, samples = assignment.pushes.shape[:2]
    matches = assignment.matches
    claims = _sums(matches.image * samples + matches.sample, learns, images * samples)
    return torch.stack([(claims > least).sum() for least in (0, 1)])


def _best(assignment: Assignment, total: Tensor, targets: Targets) -> Tensor:
    """(2,) the sum of the shares of w⁺ (of each target in all, `total`) in a target's best pair, and how many have w⁺."""
    flat, weight = assignment.matches.flat_target(targets), assignment.positive.detach()
    most = weight.new_zeros(total.numel()).scatter_reduce_(0, flat, weight, "amax").view_as(total)
    has = total > 0
    return torch.stack([torch.where(has, most / total, 0).sum(), has.sum()])


def _agreement(
    matches: Matches, predictions: Predictions, targets: Targets, scoring: Scoring, learns: Tensor
) -> Tensor:
    """(6,) sums of score and IoU over pairs with w⁺ > 0 of the group that detects."""
    score, overlap = (values.double() for values in score_and_iou(matches, predictions, targets, scoring))
    images = len(predictions.logits) // (predictions.groups or 1)
    counts = (learns * (matches.image // images == predictions.final_group)).double()
    terms = [torch.ones_like(score), score, overlap, score**2, overlap**2, score * overlap]
    return (torch.stack(terms) * counts).sum(1)


def _level_names(sums: Mapping[str, Tensor]) -> list[str]:
    """Strides of a pyramid; decoder layers, counted from 0, and the encoder behind them."""
    if "strides" in sums:
        return [f"{stride:g}" for stride in (sums["strides"] / sums["steps"]).tolist()]
    layers = int(sums["layers"] / sums["steps"])
    return layer_names(layers, sums["pairs"].shape[1])


def layer_names(layers: int, groups: int) -> list[str]:
    """Names of groups of predictions, of which the first ones are decoder layers.

    >>> layer_names(2, 3)
    ['0', '1', 'encoder']
    """
    return [*map(str, range(layers)), *["encoder"] * (groups - layers)]


def _named(names: Sequence[str], values: Tensor) -> dict[str, float | None]:
    return dict(zip(names, map(_plain, values), strict=True))


def _plain(value: Tensor) -> float | None:
    """A number, None where it is none."""
    return float(value) if value.isfinite() else None
