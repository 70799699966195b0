"""Two-stage detection: every token of the image proposes a box (Deformable DETR, arXiv 2010.04159, appendix A.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor, nn

from .memory import Memory

BASE_SIZE = 0.05  # share of the image that a token of the finest level proposes; doubles with every level
MARGIN = 0.01  # proposals closer than this to 0 or 1 in any coordinate are void


class EncoderHead(Protocol):
    """What turns tokens into proposals: the encoder part of a query head."""

    def encoder_predictions(self, tokens: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """Class logits (B, S, C) and box logits (B, S, 4) from tokens (B, S, C) and proposals (B, S, 4), logits."""

    def ranking(self, logits: Tensor) -> Tensor:
        """(B, S, C) what orders tokens as the probabilities of the classes do."""


@dataclass(frozen=True)
class Proposals:
    """What the encoder predicted.

    Attributes:
        tokens: (B, S, C) projected features.
        logits: (B, S, classes).
        boxes: (B, S, 4) logits of cx, cy, w, h; infinite where a token proposes nothing.
        places: (B or 1, S, 4) the same of the squares around the tokens, which the boxes started from.
        strides: (S,) pixels per cell of each token's level.
        level_sizes: tokens of each level.
        rank: (B, S) the more, the sooner a token becomes a query.
        chosen: (B, Q) long, the tokens that became queries, the best ones first.
    """

    tokens: Tensor
    logits: Tensor
    boxes: Tensor
    places: Tensor
    strides: Tensor
    level_sizes: Sequence[int]
    rank: Tensor
    chosen: Tensor | None = None

    def choose(self, count: int, taken: Tensor | None = None) -> Proposals:
        """The same, of which the `count` best tokens are chosen; all if there are no more.

        Args:
            count: of every image.
            taken: (B, K) long, tokens that are chosen only where no others are left.
        """
        if taken is None:
            return replace(self, chosen=self.rank.topk(min(count, self.rank.shape[1]), 1).indices)
        free = torch.ones_like(self.rank, dtype=torch.long).scatter(1, taken, 0)
        return replace(self, chosen=foremost(self.rank, free, count))

    def trained(self, kind: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Logits, boxes and places (B, K, 4) (cx, cy, w, h, shares) and strides (B, K) of what a head trains.

        "binary" trains all tokens, "classes" those that became queries.
        """
        places = self.places.expand_as(self.boxes)
        strides = self.strides.expand(self.boxes.shape[:2])
        values = self.logits, self.boxes, places
        if kind == "classes":
            values, strides = (gather_rows(each, self.chosen) for each in values), self.strides[self.chosen]
        logits, boxes, places = values
        return logits, boxes.sigmoid(), places.sigmoid(), strides


class TokenProposals(nn.Module):
    """Projected tokens and the square around each; tokens outside their image, or too close to its border, are void.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, channels)
        self.norm = nn.LayerNorm(channels)

    def forward(self, memory: Memory) -> tuple[Tensor, Tensor]:
        """Tokens (B, S, C) and proposals (B, S, 4), logits of cx, cy, w, h; +inf where void."""
        places, void = token_boxes(memory)
        void = void.expand(memory.features.shape[0], -1, -1)
        return self.norm(self.linear(memory.features.masked_fill(void, 0.0))), places


def token_boxes(memory: Memory) -> tuple[Tensor, Tensor]:
    """Logits (B or 1, S, 4) of each token's box, +inf where void, and which are void (B or 1, S, 1)."""
    device = memory.features.device
    sides = [torch.full((n,), BASE_SIZE * 2.0**level, device=device) for level, n in enumerate(memory.level_sizes)]
    size = torch.cat(sides)[None, :, None].expand(memory.centers.shape[0], -1, 2)
    boxes = torch.cat((memory.centers, size), -1)
    void = ~((boxes > MARGIN) & (boxes < 1 - MARGIN)).all(-1, keepdim=True)
    if memory.padding is not None:
        void = void | memory.padding[..., None]
    return torch.log(boxes / (1 - boxes)).masked_fill(void, torch.inf), void


def foremost(rank: Tensor, tier: Tensor, count: int) -> Tensor:
    """(B, K) long, `count` tokens of the highest tiers (B, S), those of a tier by their rank (B, S).

    >>> foremost(torch.tensor([[3.0, 2.0, 1.0, 0.0]]), torch.tensor([[0, 1, 0, 1]]), 3).tolist()
    [[1, 3, 0]]
    """
    order = rank.argsort(dim=1, descending=True, stable=True)
    return order.gather(1, tier.gather(1, order).argsort(dim=1, descending=True, stable=True)[:, :count])


def gather_rows(values: Tensor, chosen: Tensor) -> Tensor:
    """Rows `chosen` (B, Q) of values (B, S, K) -> (B, Q, K)."""
    return values.gather(1, chosen[..., None].expand(-1, -1, values.shape[-1]))
