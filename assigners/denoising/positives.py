"""Queries at the samples that another head calls positive (Co-DETR, arXiv 2211.12860, section 3.3)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from ..boxes import center, sides
from ..checks import check_choice, check_count, check_order
from ..structures import BACKGROUND, Targets
from .known import KnownPairs
from .noise import Noise


class Positives:
    """Makes slots of a head's samples: positives first, each to find the object that the head gave it.

    The batch has as many slots as its image with the most positives, within limits, and no more than samples. An image with
    more positives than slots has a random choice of them.

    Args:
        least, most: slots of an image.
        fill: of images with fewer positives: "padding", so that no image learns from what others have, or "negatives",
            random ones, which learn to be background (the authors' default).

    Raises:
        ValueError: for numbers below 1, more `least` than `most`, and an unknown choice.

    >>> targets = Targets.from_lists([torch.tensor([[0.0, 0.0, 8.0, 8.0]])], [torch.tensor([1])], sizes=torch.full((1, 2), 16))
    >>> boxes = torch.tensor([[[0.0, 0.0, 8.0, 4.0], [8.0, 8.0, 16.0, 16.0], [0.0, 4.0, 8.0, 8.0]]])
    >>> slots = Positives(least=2)(boxes, torch.tensor([[0, -1, 0]]), targets)
    >>> slots.positive.tolist(), slots.target.tolist(), slots.boxes[0, 0].tolist()
    ([[True, True]], [[0, 0]], [0.25, 0.125, 0.5, 0.25])
    """

    def __init__(self, least: int = 9, most: int = 300, fill: Literal["padding", "negatives"] = "padding") -> None:
        check_count("least", least, 1)
        check_count("most", most, 1)
        check_order("least", least, "most", most)
        check_choice("fill", fill, ("padding", "negatives"))
        self.least, self.most, self.fill = least, most, fill

    @torch.no_grad()
    def __call__(
        self, boxes: Tensor, target: Tensor, targets: Targets, valid: Tensor | None = None, noise: Noise | None = None
    ) -> KnownPairs:
        """Slots for a batch; the host waits for their number.

        Draws, where there is something to choose or to fill: (B, N) uniform, of which the lowest are taken.

        Args:
            boxes: (B, N, 4) xyxy, pixels; the samples' anchors or proposals.
            target: (B, N) long, the object that each sample is to find, BACKGROUND where there is none.
            targets: with the sizes of their images.
            valid: (B, N) bool, the samples that may be negatives; None is all.
            noise: where random numbers come from; None is torch's own generator.
        """
        positive = target != BACKGROUND
        most = int(positive.sum(1).max())
        count = min(max(self.least, min(self.most, most)), target.shape[1])
        rank = torch.where(positive, 0.0, 2.0)  # whole numbers in between, so that no rounding takes a negative first
        if valid is not None:
            rank = torch.where(positive | valid, rank, 4.0)
        if most > count or self.fill == "negatives":
            order = (noise or Noise()).uniform(rank.shape, rank)
        else:
            order = torch.arange(rank.shape[1], device=rank.device) / rank.shape[1]
        chosen = (rank + order).topk(count, largest=False).indices
        rank = rank.gather(1, chosen)
        return self._pairs(targets.shares_of(boxes), target, chosen, rank)

    def _pairs(self, boxes: Tensor, target: Tensor, chosen: Tensor, rank: Tensor) -> KnownPairs:
        positive = rank == 0
        known = positive | (rank == 2) if self.fill == "negatives" else positive
        boxes = boxes.gather(1, chosen[..., None].expand(-1, -1, 4))
        return KnownPairs(
            boxes=torch.cat([center(boxes), sides(boxes)], -1).masked_fill(~known[..., None], 0.5),
            known=known,
            positive=positive,
            target=target.gather(1, chosen).masked_fill(~positive, 0),
        )
