"""Two assignments of one batch as one: the classes of one, the boxes of the other."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from .structures import Assignment, Matches, Predictions, Targets


def joined(classes: Assignment, boxes: Assignment, predictions: Predictions, targets: Targets) -> Assignment:
    """One assignment of the pairs of both: w⁺ is 0 where only the box is learned, w° where only the class is."""
    matches, place, alone = both(classes.matches, boxes.matches, predictions, targets)
    weights = torch.cat([boxes.box, boxes.box.new_zeros(1)])  # which a pair without a box has at place -1
    return Assignment(
        matches,
        torch.cat([classes.positive, torch.zeros_like(boxes.box[alone])]),
        classes.pushes,
        torch.cat([weights[place], boxes.box[alone]]),
        torch.cat([classes.normalizers[:2], boxes.normalizers[2:]]),
        classes.background,
        further=classes.further,
        of_classes=classes.class_matches,
    )


def both(
    classes: Matches, boxes: Matches, predictions: Predictions, targets: Targets
) -> tuple[Matches, Tensor, Tensor]:
    """The pairs that either has, the place in `boxes` of each pair of `classes` or -1, and the places of the rest."""
    samples = predictions.logits.shape[1]
    key, other = (pairs.flat_target(targets) * samples + pairs.sample for pairs in (classes, boxes))
    ordered, order = other.sort()
    found = torch.searchsorted(ordered, key)
    near = found.clamp(max=max(len(other) - 1, 0))
    shared = (ordered[near] == key) if len(other) else torch.zeros_like(key, dtype=torch.bool)
    place = torch.where(shared, order[near], -1) if len(other) else torch.full_like(key, -1)
    taken = torch.zeros(len(other) + 1, dtype=torch.bool, device=key.device)
    taken[place] = True  # the last is that of -1
    alone = (~taken[:-1]).nonzero()[:, 0]
    return replace(classes.followed_by(boxes.select(alone)), of_boxes=None), place, alone
