"""The decoder: queries look at each other and at the image, layer by layer, and their references move."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from ...assigners.description import constants
from ...heads.reference import shares
from .attention import (
    ConditionalCrossAttention,
    ConditionalSelfAttention,
    CrossAttention,
    LevelCrossAttention,
    QuerySelfAttention,
    Sight,
)
from .deformable import DeformableCrossAttention
from .distinct import Distinct, Narrowing
from .dropout import Dropout
from .guides import GUIDES, Guide
from .layers import Activation, FeedForward, check_heads, xavier_
from .memory import Memory
from .queries import Queries

ATTENTIONS = {
    "dense": (QuerySelfAttention, CrossAttention),
    "conditional": (ConditionalSelfAttention, ConditionalCrossAttention),
    "levels": (ConditionalSelfAttention, LevelCrossAttention),
    "deformable": (QuerySelfAttention, DeformableCrossAttention),
}
GUIDES_FOR = {"conditional": ("conditional", "anchor"), "deformable": ("learned", "deformable_anchor")}
GUIDES_FOR["levels"] = GUIDES_FOR["conditional"]  # dense attention needs no more than a place, which all give
REFINEMENTS = (None, "detached", "forward_twice")


class Refiner(Protocol):
    """What moves references, and says how likely queries are objects: a query head."""

    def refine(self, layer: int, states: Tensor, reference: Tensor) -> Tensor:
        """(B, Q, 4) boxes, shares of the image, from states (B, Q, C) and references (B, Q, 2 or 4)."""

    def best_class(self, layer: int, states: Tensor) -> Tensor:
        """(B, Q) what orders queries as the probability of their best class does, from states (B, Q, C)."""


@dataclass(frozen=True)
class Decoded:
    """What the decoder found, one entry per layer.

    Attributes:
        states: (L, B, Q, C) what class and box are predicted from.
        references: L tensors (B, Q, 2 or 4), shares of the image, that each layer's boxes start from; None without any.
        boxes: (L, B, Q, 4) cx, cy, w, h where refinement predicted them already, else None.
        crossed: L tensors (B, Q, C), the states right after queries looked at the image.
        counting: (L, B, Q) bool, the queries that count in each layer; None where all do.
    """

    states: Tensor
    references: tuple[Tensor, ...] | None
    boxes: Tensor | None
    crossed: tuple[Tensor, ...]
    counting: Tensor | None = None

    def behind(self, count: int) -> Decoded:
        """What was found of all queries but the first ones."""
        return Decoded(
            self.states[:, :, count:],
            self.references and tuple(reference[:, count:] for reference in self.references),
            None if self.boxes is None else self.boxes[:, :, count:],
            tuple(crossed[:, count:] for crossed in self.crossed),
            None if self.counting is None else self.counting[:, :, count:],
        )


class DecoderLayer(nn.Module):
    """Self-attention, cross-attention and a feed-forward network, normed after each (or before each, `pre_norm`)."""

    def __init__(
        self,
        self_attention: nn.Module,
        cross_attention: nn.Module,
        channels: int,
        hidden: int,
        dropout: float = 0.0,
        activation: Activation = "relu",
        pre_norm: bool = False,
        cross_first: bool = False,
    ) -> None:
        super().__init__()
        self.self_attention = self_attention
        self.cross_attention = cross_attention
        self.feed_forward = FeedForward(channels, hidden, activation, dropout)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(channels) for _ in range(3))
        self.dropout = Dropout(dropout)
        self.pre_norm = pre_norm
        self.cross_first = cross_first

    def forward(
        self, x: Tensor, guide: Guide, memory: Memory, sight: Tensor | Sight | None, see_others: bool = True
    ) -> tuple[Tensor, Tensor]:
        """The queries' new states, and those right after they looked at the image, (B, Q, C) each.

        Args:
            x: (B, Q, C).
            guide: where they look.
            memory: the encoded image.
            sight: which queries see which; see `attend`.
            see_others: False leaves self-attention out.
        """
        own = None
        if see_others and not self.cross_first:
            x, own = self._see_others(x, guide, sight)
        x = crossed = self._step(self.norm2, x, lambda y: self.cross_attention(y, guide, memory, own))
        if see_others and self.cross_first:
            x, _ = self._see_others(x, guide, sight)
        return self._step(self.norm3, x, self.feed_forward), crossed

    def _see_others(self, x: Tensor, guide: Guide, sight: Tensor | Sight | None) -> tuple[Tensor, Tensor | None]:
        attended, own = self.self_attention(self.norm1(x) if self.pre_norm else x, guide, sight)
        x = x + self.dropout(attended)
        return (x if self.pre_norm else self.norm1(x)), own

    def _step(self, norm: nn.Module, x: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
        if self.pre_norm:
            return x + self.dropout(change(norm(x)))
        return norm(x + self.dropout(change(x)))


class QueryDecoder(nn.Module):
    """Decoder of every query detector.

    Args:
        attention: "dense" (DETR), "conditional" (Conditional DETR, DAB-DETR), "levels" (deformable-encoder-only DAB),
            "deformable".
        guide: "learned", "conditional", "anchor" or "deformable_anchor"; what tells queries where to look.
        refinement: None leaves references where they are; "detached" moves them and lets no gradient cross layers
            (Deformable DETR); "forward_twice" predicts from moved references that keep their gradient (DAB-DETR, DINO).
        layers, channels, heads, hidden, dropout, activation, pre_norm: as usual.
        cross_first: queries look at the image first and at each other then (MS-DETR).
        norm: one norm shared by all layers' outputs.
        scale_positions: for the deformable_anchor guide, see there (DAB-Deformable-DETR).
        levels, points: of deformable attention; levels of "levels" too.
        distinct: IoU that queries may have between two layers, see `Distinct` (DDQ); None leaves them alone.
        distinct_by_first_row: what counts is read as in DDQ's code, see there.

    Raises:
        ValueError: for an unknown choice, no layer, or distinct queries whose references do not move.
    """

    def __init__(
        self,
        attention: Literal["dense", "conditional", "levels", "deformable"] = "dense",
        guide: Literal["learned", "conditional", "anchor", "deformable_anchor"] = "learned",
        refinement: Literal["detached", "forward_twice"] | None = None,
        layers: int = 6,
        channels: int = 256,
        heads: int = 8,
        hidden: int = 2048,
        dropout: float = 0.1,
        activation: Activation = "relu",
        pre_norm: bool = False,
        cross_first: bool = False,
        norm: bool = True,
        scale_positions: bool = False,
        levels: int = 4,
        points: int = 4,
        distinct: float | None = None,
        distinct_by_first_row: bool = False,
    ) -> None:
        super().__init__()
        known = {"attention": ATTENTIONS, "guide": GUIDES, "refinement": REFINEMENTS}
        for name, value in {"attention": attention, "guide": guide, "refinement": refinement}.items():
            if value not in known[name]:
                raise ValueError(f"{name}: expected one of {', '.join(map(str, known[name]))}, got {value!r}")
        if guide not in GUIDES_FOR.get(attention, GUIDES):
            allowed = " or ".join(GUIDES_FOR[attention])
            raise ValueError(f"guide: {attention} attention needs {allowed}, got {guide!r}")
        if layers < 1:
            raise ValueError(f"layers: a decoder needs at least 1, got {layers}")
        if cross_first and attention == "levels":
            raise ValueError(
                "cross_first: attention to levels weighs them by what self-attention made; take dense or deformable"
            )
        if distinct is not None and refinement is None:
            raise ValueError(
                "distinct: compares the boxes of every layer; take refinement detached or forward_twice, "
                "and queries that start from points or boxes"
            )
        check_heads(channels, heads)
        self.distinct = None if distinct is None else Distinct(distinct, distinct_by_first_row)
        self.sees_alone = attention != "levels"
        self.refinement = refinement
        extra = _guide_arguments(guide, attention, scale_positions)
        self.guide = GUIDES[guide](channels, layers, **extra)
        self.layers = nn.ModuleList(
            DecoderLayer(
                *_attentions(attention, index, channels, heads, dropout, levels, points),
                *(channels, hidden, dropout, activation, pre_norm, cross_first),
            )
            for index in range(layers)
        )
        self.norm = nn.LayerNorm(channels) if norm else None
        xavier_(self)
        for layer in self.layers:
            if isinstance(layer.cross_attention, DeformableCrossAttention):
                layer.cross_attention.reset_parameters()

    extra_repr = constants

    def forward(
        self,
        queries: Queries,
        memory: Memory,
        head: Refiner,
        sight: Tensor | Sight | None = None,
        see_others: bool = True,
        distinct_behind: int | None = None,
    ) -> Decoded:
        """Decode.

        Args:
            queries: where to start.
            memory: the encoded image.
            head: moves references.
            sight: which queries see which; see `attend`; None lets all see all.
            see_others: False leaves out self-attention in all layers but the first (DAC-DETR).
            distinct_behind: queries behind so many stay distinct, in a decoder that has them so; None leaves all alone.
        """
        x = queries.content
        narrowing = None
        if self.distinct is not None and distinct_behind is not None:
            narrowing = Narrowing(self.distinct, distinct_behind, sight, x.new_ones(x.shape[:2], dtype=torch.bool))
        start = reference = None if queries.anchors is None else shares(queries.anchors)
        states, references, boxes, crossed = [], [], [], []
        for index, layer in enumerate(self.layers):
            guide = self.guide(index, x, queries.position, reference, memory)
            seen = sight if narrowing is None else narrowing.sight
            x, looked = layer(x, guide, memory, seen, see_others or index == 0)
            states.append(x if self.norm is None else self.norm(x))
            crossed.append(looked)
            references.append(start)
            if self.refinement is None or (self.refinement == "forward_twice" and index == len(self.layers) - 1):
                continue
            moved = head.refine(index, x, reference)
            boxes.append(moved)
            reference = moved.detach()
            start = moved if self.refinement == "forward_twice" else reference
            if narrowing is not None and index < len(self.layers) - 1:
                narrowing.narrow(reference, head.best_class(index, x))
        finished = self.refinement == "detached" and self.norm is None
        return Decoded(
            torch.stack(states),
            None if start is None else tuple(references),
            torch.stack(boxes) if finished else None,
            tuple(crossed),
            None if narrowing is None else torch.stack(narrowing.counting),
        )


def _guide_arguments(guide: str, attention: str, scale_positions: bool) -> dict[str, bool]:
    if guide == "learned":
        return {"deformable": attention == "deformable"}
    return {"scaled": scale_positions} if guide == "deformable_anchor" else {}


def _attentions(
    kind: str, index: int, channels: int, heads: int, dropout: float, levels: int, points: int
) -> tuple[nn.Module, nn.Module]:
    own, cross = ATTENTIONS[kind]
    special = {
        "dense": {},
        "conditional": {"first": index == 0},
        "levels": {"first": index == 0, "levels": levels},
        "deformable": {"levels": levels, "points": points},
    }[kind]
    return own(channels, heads, dropout), cross(channels, heads, dropout, **special)
