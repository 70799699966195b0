"""Which object each slot of a denoising group repeats."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..structures import Targets
from .noise import Noise
from .queries import DenoisingQueries


@dataclass(frozen=True)
class Slots:
    """Slots of one group or of all: S or K per image.

    Attributes:
        target: (B, S) long, the object that a slot repeats.
        known: (B, S) bool, whether there is one.
        negative: (B, S) bool, whether the slot is to learn that its box is not the object's.
    """

    target: Tensor
    known: Tensor
    negative: Tensor

    def repeat(self, groups: int) -> Slots:
        """The slots of so many groups, group after group."""
        return Slots(*(part.repeat(1, groups) for part in (self.target, self.known, self.negative)))

    def second_half(self) -> Tensor:
        """(B, S) bool, the second half of the known slots of the batch, listed image by image."""
        rank = self.known.flatten().cumsum(0).view_as(self.known)
        return self.known & (2 * rank > self.known.sum())

    def labels(self, targets: Targets) -> Tensor:
        """(B, S) class of each slot's object, 0 in padding."""
        return targets.labels.gather(1, self.target).masked_fill(~self.known, 0)

    def boxes(self, targets: Targets) -> Tensor:
        """(B, S, 4) box of each slot's object, xyxy, shares of the image, 0 in padding."""
        boxes = targets.shares_of(targets.boxes).gather(1, self.target[..., None].expand(-1, -1, 4))
        return boxes.masked_fill(~self.known[..., None], 0)

    def queries(self, labels: Tensor, boxes: Tensor, groups: int, padding_in_loss: bool) -> DenoisingQueries:
        """The queries with these labels (B, K) and boxes (B, K, 4), of all groups."""
        positive = self.known & ~self.negative
        return DenoisingQueries(
            boxes=boxes.masked_fill(~self.known[..., None], 0.5),
            known=self.known,
            positive=positive,
            target=self.target.masked_fill(~positive, 0),
            padding_in_loss=padding_in_loss,
            labels=labels.masked_fill(~self.known, 0),
            groups=groups,
            block=labels.shape[1] // groups,
        )


def one_each(targets: Targets, limit: int, noise: Noise) -> Slots:
    """A slot for each of at most `limit` objects; where there may be more, for a random choice of them.

    Draws, if the targets are padded to more than `limit`: (B, M) uniform.
    """
    images, places = targets.mask.shape
    if places <= limit:
        target, known = torch.arange(places, device=targets.mask.device).expand(images, -1), targets.mask
    else:
        order = noise.uniform((images, places), targets.boxes).masked_fill(~targets.mask, 2.0).argsort(1)
        target = order[:, :limit]
        known = targets.mask.gather(1, target)
    return Slots(target, known, torch.zeros_like(known))


def with_negatives(slots: Slots, packed: bool) -> Slots:
    """Every slot as a positive, then all of them again as negatives; `packed` leaves no padding between the two."""
    doubled = slots.repeat(2)
    place = torch.arange(doubled.target.shape[1], device=doubled.target.device).expand_as(doubled.target)
    if packed:
        order = (~doubled.known).to(torch.uint8).argsort(stable=True)  # negatives move up behind the last positive
        doubled, place = (
            Slots(*(part.gather(1, order) for part in (doubled.target, doubled.known, doubled.negative))),
            place.gather(1, order),
        )
    return Slots(doubled.target, doubled.known, doubled.known & (place >= slots.target.shape[1]))


def within(max_queries: int | None, groups: int, objects: int, per_object: int = 1) -> tuple[int, int]:
    """Groups and objects per group of which no more than `max_queries` are made: fewer groups first, then fewer objects.

    >>> within(200, groups=5, objects=30), within(200, groups=5, objects=500, per_object=2), within(None, 5, 500)
    ((5, 30), (1, 100), (5, 500))
    """
    if max_queries is None or objects == 0:
        return groups, objects
    fitting = max(1, min(groups, max_queries // (objects * per_object)))
    return fitting, min(objects, max_queries // per_object)
