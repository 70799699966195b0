"""Queries that stay distinct from layer to layer: of two that overlap the worse one counts no more (DDQ, arXiv 2303.12776)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torchvision.ops import box_convert

from ...assigners.checks import check_share
from ...ops.suppression import survivors
from .attention import InFront


@dataclass(frozen=True)
class Distinct:
    """NMS of queries between two decoder layers, whatever their class.

    Attributes:
        overlap: IoU that is allowed.
        first_row: as in DDQ's code, whose loss and next NMS take the queries that the first one may look at: those kept, or
            all of an image where it is kept itself.
    """

    overlap: float = 0.8
    first_row: bool = False

    def __post_init__(self) -> None:
        check_share("distinct", self.overlap)

    def __call__(self, boxes: Tensor, scores: Tensor, counting: Tensor) -> tuple[Tensor, Tensor]:
        """The queries that NMS keeps, and those that count from then on, (B, Q) bool each.

        Args:
            boxes: (B, Q, 4) cx, cy, w, h, shares of the image.
            scores: (B, Q), of a query's best class.
            counting: (B, Q) bool, those that counted so far; others are neither kept nor suppress any.
        """
        kept = counting & survivors(box_convert(boxes, "cxcywh", "xyxy"), scores, self.overlap, (~counting).long(), 2)
        return kept, kept | kept[:, :1] if self.first_row else kept


class Narrowing:
    """One way through the decoder: which queries count in each layer, and which of the others they see.

    Args:
        rule: says which stay distinct.
        front: queries of denoising in front, which all count.
        sight: which queries see which in the first layer; None is all.
        counting: (B, Q) bool, those that count there.
    """

    def __init__(self, rule: Distinct, front: int, sight: InFront | None, counting: Tensor) -> None:
        self.rule, self.front, self.start = rule, front, sight
        self.sight: InFront | Tensor | None = sight
        self.counting = [counting]

    def narrow(self, boxes: Tensor, scores: Tensor) -> None:
        """Go on to the next layer, behind one that moved boxes (B, Q, 4) of queries with these scores (B, Q)."""
        denoising, counting = self.counting[-1].tensor_split((self.front,), 1)
        kept, counting = self.rule(boxes[:, self.front :], scores[:, self.front :], counting)
        self.counting.append(torch.cat((denoising, counting), 1))
        self.sight = sight_among(kept) if self.start is None else replace(self.start, others=sight_among(kept))


def sight_among(kept: Tensor) -> Tensor:
    """(B, 1, Q, Q) bool, which queries see which: those kept (B, Q) all, the others only those kept.

    >>> sight_among(torch.tensor([[True, False]])).int().tolist()
    [[[[1, 1], [1, 0]]]]
    """
    return (kept[:, :, None] | kept[:, None])[:, None]
