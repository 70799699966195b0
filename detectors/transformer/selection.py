"""Which proposals become queries: the best, or the best of those that no better one overlaps."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Protocol

import torch
from torch import Tensor
from torchvision.ops import box_convert

from ...assigners.checks import check_count, check_share
from ...assigners.registry import Registry
from ...heads.reference import shares
from ...ops.suppression import survivors
from .proposals import Proposals, foremost, gather_rows

SELECTIONS = Registry("selection")


class Selection(Protocol):
    """What picks proposals; registered in `SELECTIONS`."""

    def __call__(self, proposals: Proposals, count: int) -> Tensor:
        """(B, Q) long, the tokens of `count` queries, or of as many as there are tokens."""


@SELECTIONS.register("best")
class Best:
    """The tokens of the highest rank."""

    def __call__(self, proposals: Proposals, count: int) -> Tensor:
        return proposals.choose(count).chosen


@SELECTIONS.register("nms")
class NMS:
    """The best that are left by NMS over all tokens, whatever class and level (DDQ, arXiv 2303.12776).

    Where fewer than wanted are left the best suppressed ones follow; DDQ's code has queries of zeros there.

    Args:
        overlap: IoU that is allowed.
    """

    def __init__(self, overlap: float = 0.8) -> None:
        check_share("overlap", overlap)
        self.overlap = overlap

    def __call__(self, proposals: Proposals, count: int) -> Tensor:
        kept = survivors(unit_boxes(proposals.boxes), proposals.rank, self.overlap)
        return foremost(proposals.rank, kept.long(), count)


@SELECTIONS.register("level_nms")
class LevelNMS:
    """An equal share of queries for every level, of those that are left by NMS within it (DETA, arXiv 2212.06137).

    Shares that a level cannot fill go to the best of all others. An image where NMS leaves fewer than wanted has the best
    tokens instead, overlapping or not.

    Args:
        overlap: IoU that is allowed, of boxes clipped to the image.
        candidates: so many tokens of a level go into NMS.
    """

    def __init__(self, overlap: float = 0.9, candidates: int = 1000) -> None:
        check_share("overlap", overlap)
        check_count("candidates", candidates, 1)
        self.overlap, self.candidates = overlap, candidates

    def __call__(self, proposals: Proposals, count: int) -> Tensor:
        best = proposals.choose(count).chosen
        tokens = best_of_levels(proposals.rank, proposals.level_sizes, self.candidates)
        if tokens.shape[1] < count:
            return best
        sizes = [min(size, self.candidates) for size in proposals.level_sizes]
        rank = proposals.rank.gather(1, tokens)
        kept = self._kept(gather_rows(proposals.boxes, tokens), rank, sizes)
        chosen = foremost(rank, kept.long() + within_quota(rank, kept, sizes, count // len(sizes)), count)
        chosen = tokens.gather(1, chosen.gather(1, rank.gather(1, chosen).argsort(dim=1, descending=True, stable=True)))
        return torch.where(kept.sum(1, keepdim=True) < count, best, chosen)

    def _kept(self, boxes: Tensor, rank: Tensor, sizes: Sequence[int]) -> Tensor:
        level = torch.cat([torch.full((size,), index, device=rank.device) for index, size in enumerate(sizes)])
        return survivors(unit_boxes(boxes).clamp(0, 1), rank, self.overlap, level, len(sizes))


def within_quota(rank: Tensor, kept: Tensor, sizes: Sequence[int], quota: int) -> Tensor:
    """(B, K) bool, the best `quota` of every level among those kept (B, K)."""
    best = best_of_levels(rank.masked_fill(~kept, -torch.inf), sizes, quota)
    return kept & torch.zeros_like(kept).scatter(1, best, torch.ones_like(best, dtype=torch.bool))


def best_of_levels(rank: Tensor, sizes: Sequence[int], count: int) -> Tensor:
    """(B, K) the tokens of highest rank (B, S), `count` of every level or all that it has, level by level."""
    starts = accumulate(sizes, initial=0)
    levels = zip(rank.split(list(sizes), 1), starts, strict=False)
    return torch.cat([level.topk(min(count, level.shape[1]), 1).indices + start for level, start in levels], 1)


def unit_boxes(boxes: Tensor) -> Tensor:
    """Logits (..., 4) of cx, cy, w, h -> xyxy, shares of the image; those of void tokens are a corner of the image."""
    return box_convert(shares(boxes.detach()), "cxcywh", "xyxy")
