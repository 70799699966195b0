"""Queries of which it is known by construction what they are to find."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..structures import Matches, Targets


@dataclass(frozen=True, kw_only=True)
class KnownPairs:
    """K slots of every image, each a box that is to find an object, or nothing; or padding, where others have more.

    Attributes:
        boxes: (B, K, 4) cxcywh, shares of the image; 0.5 in padding.
        known: (B, K) bool, False in padding.
        positive: (B, K) bool, whether the slot is to find its object; False for negatives and padding.
        target: (B, K) long, the object that a positive is to find, 0 elsewhere.
        padding_in_loss: whether padding learns to be background, as negatives do.
    """

    boxes: Tensor
    known: Tensor
    positive: Tensor
    target: Tensor
    padding_in_loss: bool = False

    def matches(self, groups: int = 1) -> Matches:
        """The pairs, for the predictions of `groups` decoder layers stacked layer after layer (`Predictions.groups`)."""
        image, sample = self.positive.nonzero(as_tuple=True)
        ignored = None if self.padding_in_loss else ~self.known
        pairs = Matches(image, sample, self.target[image, sample], self.boxes.new_ones(len(image)), ignored)
        return pairs.repeat(groups, len(self.boxes))

    def found(self, targets: Targets) -> Targets:
        """The targets that have a positive here; a cap on the slots of a crowded image leaves some without."""
        objects = targets.mask.shape[1]
        place = torch.where(self.positive, self.target, objects)
        has_slot = targets.mask.new_zeros(len(place), objects + 1).scatter_(1, place, True)[:, :objects]
        return replace(targets, mask=targets.mask & has_slot)

    def sight(self) -> Tensor:
        """(B, 1, K, K) bool, True where a slot (row) sees another (column): all see those that are known, and themselves."""
        itself = torch.eye(self.known.shape[1], dtype=torch.bool, device=self.known.device)
        return self.known[:, None, None] | itself
