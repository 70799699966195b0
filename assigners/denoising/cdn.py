"""Contrastive denoising: every object again, once shaken a little and once too much (DINO, arXiv 2203.03605)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from ..checks import check_count
from ..registry import DENOISINGS
from ..structures import Targets
from .dn import check_noise
from .noise import Noise, flip_labels, shake_corners
from .queries import DenoisingQueries
from .slots import Slots, one_each, with_negatives, within


@DENOISINGS.register("cdn")
class ContrastiveDenoising:
    """Groups of positives, each to find the object it was made from, and of negatives, to find nothing.

    A group is M positives, then M negatives. The random numbers are drawn in this order, for all slots at once, those
    without an object included: which objects, if there are more than `max_queries` allows; which labels change; to what;
    in which direction coordinates move; how far.

    Args:
        queries: pairs of a positive and a negative per image, by DINO's rule: from 50 on, 2 * queries // (2 * M) groups
            and at least one; below, 2 * queries groups whatever M is.
        groups: a fixed number of groups instead.
        label_noise: half of it is the probability that a label, of positives and negatives, becomes a random one.
        box_noise: coordinates of a positive move up to half of it in sides of the box, of a negative from half to all.
        unknown_negatives: the form of DN-DETR's repository: the content of negatives is the "unknown" class,
            num_classes; an image's negatives follow right behind its positives, and padding behind both.
        far: which queries move far, and with `unknown_negatives` are unknown: the "negatives"; the "second_half" of the
            batch's queries listed image by image, as in that repository, which with one image is the same; or "none", as in
            Stable-DINO's code, whose negatives move no farther than positives.
        max_queries: of one image. Crowded batches get fewer groups, and if one group is still too large a random choice
            of each image's objects. None is no limit.
        padding_in_loss: let slots without an object learn to be background; None does, as DINO, unless
            `unknown_negatives`.

    Raises:
        ValueError: for numbers out of range.
    """

    def __init__(
        self,
        queries: int = 100,
        groups: int | None = None,
        label_noise: float = 0.5,
        box_noise: float = 1.0,
        unknown_negatives: bool = False,
        far: Literal["negatives", "second_half", "none"] = "negatives",
        max_queries: int | None = 1000,
        padding_in_loss: bool | None = None,
    ) -> None:
        check_noise(label_noise, box_noise)
        allowed = ("negatives", "second_half") if unknown_negatives else ("negatives", "none")
        if far not in allowed:
            known = "with" if unknown_negatives else "without"
            raise ValueError(f"far: expected {' or '.join(allowed)} {known} unknown_negatives, got {far!r}")
        check_count("queries", queries, 0)
        check_count("groups", groups, 1)
        check_count("max_queries", max_queries, 2)
        self.queries = queries
        self.groups = groups
        self.label_noise = label_noise
        self.box_noise = box_noise
        self.unknown_negatives = unknown_negatives
        self.far = far
        self.max_queries = max_queries
        self.padding_in_loss = not unknown_negatives if padding_in_loss is None else padding_in_loss

    @torch.no_grad()
    def __call__(self, targets: Targets, num_classes: int, noise: Noise | None = None) -> DenoisingQueries:
        """Queries for a batch, whose padded size M gives the size of a group.

        Args:
            targets: with the sizes of their images.
            num_classes: C.
            noise: where random numbers come from; None is torch's own generator.
        """
        noise = noise or Noise()
        objects = targets.mask.shape[1]
        groups, objects = within(self.max_queries, self.groups or group_count(self.queries, objects), objects, 2)
        group = with_negatives(one_each(targets, objects, noise), self.unknown_negatives)
        far = self._far(group).repeat(1, groups)
        slots = group.repeat(groups)
        labels = slots.labels(targets)
        if self.unknown_negatives:
            labels = labels.masked_fill(slots.negative, num_classes)
        labels = flip_labels(labels, self.label_noise / 2, num_classes, noise)
        if self.unknown_negatives:
            labels = labels.masked_fill(far, num_classes)
        boxes = shake_corners(slots.boxes(targets), self.box_noise, noise, far)
        return slots.queries(labels, boxes, groups, self.padding_in_loss)

    def _far(self, group: Slots) -> Tensor:
        """(B, K) bool, which slots of a group move far."""
        if self.far == "none":
            return torch.zeros_like(group.negative)
        return group.negative if self.far == "negatives" else group.second_half()


def group_count(queries: int, objects: int) -> int:
    """Number of groups by DINO's rule, for images padded to so many objects.

    >>> group_count(100, 7), group_count(100, 300), group_count(100, 0), group_count(5, 7)
    (14, 1, 1, 10)
    """
    if objects == 0:
        return 1
    doubled = 2 * queries
    return max(1, doubled // (2 * objects) if doubled >= 100 else doubled)
