"""Denoising queries: every object again, shaken, in a few groups (DN-DETR, arXiv 2203.01305)."""

from __future__ import annotations

import torch

from ..checks import check_count
from ..registry import DENOISINGS
from ..structures import Targets
from .noise import Noise, flip_labels, shake_centers, shake_corners
from .queries import DenoisingQueries
from .slots import one_each, within


@DENOISINGS.register("dn")
class Denoising:
    """Groups of queries that are each to find the object they were made from.

    The random numbers are drawn in this order, for all slots at once, those without an object included: which objects, if
    there are more than `max_queries` allows; which labels change; to what; how far boxes move.

    Args:
        groups: how often every object is repeated.
        label_noise: probability that a label becomes a random one.
        box_noise: centres move up to half of it, sides change up to all of it, in sides of the box.
        corners: move the two corners instead, each coordinate up to half of it.
        max_queries: of one image. Crowded batches get fewer groups, and if one group is still too large a random choice
            of each image's objects. None is no limit.
        padding_in_loss: let slots without an object learn to be background.

    Raises:
        ValueError: for numbers out of range.

    >>> boxes, labels = [torch.tensor([[0.0, 0.0, 8.0, 8.0], [8.0, 0.0, 16.0, 4.0]])], [torch.tensor([1, 2])]
    >>> targets = Targets.from_lists(boxes, labels, sizes=torch.tensor([[16.0, 16.0]]))
    >>> queries = Denoising(groups=3)(targets, num_classes=4)
    >>> queries.labels.shape, queries.matches().target
    (torch.Size([1, 6]), tensor([0, 1, 0, 1, 0, 1]))
    """

    def __init__(
        self,
        groups: int = 5,
        label_noise: float = 0.2,
        box_noise: float = 0.4,
        corners: bool = False,
        max_queries: int | None = 1000,
        padding_in_loss: bool = False,
    ) -> None:
        check_noise(label_noise, box_noise)
        check_count("groups", groups, 1)
        check_count("max_queries", max_queries, 1)
        self.groups = groups
        self.label_noise = label_noise
        self.box_noise = box_noise
        self.corners = corners
        self.max_queries = max_queries
        self.padding_in_loss = padding_in_loss

    @torch.no_grad()
    def __call__(self, targets: Targets, num_classes: int, noise: Noise | None = None) -> DenoisingQueries:
        """Queries for a batch, whose padded size M gives the size of a group.

        Args:
            targets: with the sizes of their images.
            num_classes: C.
            noise: where random numbers come from; None is torch's own generator.
        """
        noise = noise or Noise()
        groups, objects = within(self.max_queries, self.groups, targets.mask.shape[1])
        slots = one_each(targets, objects, noise).repeat(groups)
        labels = flip_labels(slots.labels(targets), self.label_noise, num_classes, noise)
        shake = shake_corners if self.corners else shake_centers
        boxes = shake(slots.boxes(targets), self.box_noise, noise)
        return slots.queries(labels, boxes, groups, self.padding_in_loss)


def check_noise(label_noise: float, box_noise: float) -> None:
    if not 0 <= label_noise <= 1:
        raise ValueError(f"label_noise: expected a share from 0 to 1, got {label_noise}")
    if not box_noise >= 0:
        raise ValueError(f"box_noise: expected 0 or more, got {box_noise}")
