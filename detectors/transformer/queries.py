"""Where queries start: learned places, points, anchor boxes, or the encoder's best proposals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from ...assigners.checks import check_choice
from ...heads.mlp import MLP
from ...heads.wide import WideLinear
from .layers import xavier_
from .memory import Memory
from .position import reference_encoding
from .proposals import EncoderHead, Proposals, TokenProposals, gather_rows
from .selection import SELECTIONS


@dataclass(frozen=True)
class Queries:
    """Object queries of a batch.

    Attributes:
        content: (B, Q, C) what they start with.
        position: (B, Q, C) where they look, for decoders that learn it; or None.
        anchors: (B, Q, 2 or 4) logits of the reference points or boxes; or None.
        proposals: what the encoder predicted, to be trained too; or None.
        position_of: makes positions of further boxes, given as logits (B, K, 4); or None.
    """

    content: Tensor
    position: Tensor | None = None
    anchors: Tensor | None = None
    proposals: Proposals | None = None
    position_of: Callable[[Tensor], Tensor] | None = None


class QuerySource(Protocol):
    """What makes queries."""

    coordinates: int
    """Of the reference that every query starts from: 4 of a box, 2 of a point, 0 without one."""
    has_positions: bool
    """Whether queries have a place beside it."""
    makes_positions: bool
    """Whether places are made from boxes, and so for the boxes of others too."""

    num_queries: int
    """Of an image."""

    def __call__(self, memory: Memory, head: EncoderHead) -> Queries:
        """Queries for the images of `memory`."""

    def rows(self, count: int) -> nn.Module:
        """What is learnt of each of so many queries, drawn anew."""

    def propose(self, memory: Memory, head: EncoderHead, tokens: nn.Module | None = None) -> Proposals | None:
        """What the encoder proposes, for sources that ask it, by their own token projection or another."""

    def choose(self, proposals: Proposals) -> Proposals:
        """The same with the tokens that become queries, for sources that ask the encoder."""

    def start(self, rows: nn.Module, memory: Memory, proposals: Proposals | None) -> Queries:
        """The queries of these rows, at the proposals that were chosen for them."""


class Rows(nn.Module):
    """What is learnt of each query, by name."""

    def __init__(self, **tables: nn.Module | None) -> None:
        super().__init__()
        for name, table in tables.items():
            setattr(self, name, table)


class LearnedSource(nn.Module):
    """A source that asks nobody where to start."""

    def __init__(self, num_queries: int) -> None:
        super().__init__()
        _check_count(num_queries)
        self.num_queries = num_queries

    def forward(self, memory: Memory, head: EncoderHead) -> Queries:
        return self.start(self, memory)

    def propose(self, memory: Memory, head: EncoderHead, tokens: nn.Module | None = None) -> None:
        return None


class LearnedQueries(LearnedSource):
    """A learned place each, no content (DETR).

    Args:
        num_queries: Q.
        channels: C.
    """

    coordinates, has_positions, makes_positions = 0, True, False

    def __init__(self, num_queries: int = 100, channels: int = 256) -> None:
        super().__init__(num_queries)
        self.channels = channels
        self.position = self.rows(num_queries).position

    def rows(self, count: int) -> Rows:
        return Rows(position=nn.Embedding(count, self.channels))

    def start(self, rows: nn.Module, memory: Memory, proposals: None = None) -> Queries:
        position = _for_batch(rows.position.weight, memory)
        return Queries(torch.zeros_like(position), position)


class PointQueries(LearnedSource):
    """A learned place each and the reference point that follows from it.

    Args:
        num_queries: Q.
        channels: C.
        content: "zeros" (Conditional DETR) or "learned" (Deformable DETR).
        hidden: find the point with a hidden layer (Conditional DETR) or by one linear map (Deformable DETR).
    """

    coordinates, has_positions, makes_positions = 2, True, False

    def __init__(
        self,
        num_queries: int = 300,
        channels: int = 256,
        content: Literal["zeros", "learned"] = "zeros",
        hidden: bool = True,
    ) -> None:
        super().__init__(num_queries)
        _check_content(content)
        self.channels, self.learns_content = channels, content == "learned"
        own = self.rows(num_queries)
        self.position, self.content = own.position, own.content
        self.reference = MLP(channels, *([channels] if hidden else []), 2, last=WideLinear)
        xavier_(self.reference)
        if not hidden:
            nn.init.zeros_(self.reference.layers[0].bias)

    def rows(self, count: int) -> Rows:
        position = nn.Embedding(count, self.channels)
        return Rows(position=position, content=nn.Embedding(count, self.channels) if self.learns_content else None)

    def start(self, rows: nn.Module, memory: Memory, proposals: None = None) -> Queries:
        position = _for_batch(rows.position.weight, memory)
        content = torch.zeros_like(position) if rows.content is None else _for_batch(rows.content.weight, memory)
        return Queries(content, position, self.reference(position))


class AnchorQueries(LearnedSource):
    """Learned anchor boxes (DAB-DETR).

    Args:
        num_queries: Q, per pattern.
        channels: C.
        content: "zeros" or "learned" (DAB-Deformable-DETR).
        content_channels: learned channels of the content, the rest is zero; DN-DAB-Deformable-DETR leaves the last one
            to the mark of denoising queries. None learns all.
        patterns: so many learned contents for every anchor (Anchor DETR), pattern by pattern; 0 has none.
        xavier_patterns: draw them Xavier-uniform (the encoder-only form), not normal.
        random_centers: draw the centres evenly over the image and keep them there.
    """

    coordinates, has_positions, makes_positions = 4, False, False

    def __init__(
        self,
        num_queries: int = 300,
        channels: int = 256,
        content: Literal["zeros", "learned"] = "zeros",
        content_channels: int | None = None,
        patterns: int = 0,
        xavier_patterns: bool = False,
        random_centers: bool = False,
    ) -> None:
        super().__init__(num_queries)
        _check_content(content)
        self.channels, self.random_centers = channels, random_centers
        self.content_channels = (content_channels or channels) if content == "learned" else None
        own = self.rows(num_queries)
        self.anchors, self.content = own.anchors, own.content
        self.patterns = nn.Embedding(patterns, channels) if patterns else None
        if patterns and xavier_patterns:
            xavier_(self.patterns)

    def rows(self, count: int) -> Rows:
        anchors = FixedCenters(count) if self.random_centers else nn.Embedding(count, 4)
        content = nn.Embedding(count, self.content_channels) if self.content_channels else None
        return Rows(anchors=anchors, content=content)

    def start(self, rows: nn.Module, memory: Memory, proposals: None = None) -> Queries:
        anchors = rows.anchors.weight
        content = anchors.new_zeros(len(anchors), self.channels)
        if rows.content is not None:
            learned = rows.content.weight
            content = nn.functional.pad(learned, (0, self.channels - learned.shape[1]))
        if self.patterns is not None:
            content = (content + self.patterns.weight[:, None]).flatten(0, 1)
            anchors = anchors.repeat(self.patterns.num_embeddings, 1)
        return Queries(_for_batch(content, memory), anchors=_for_batch(anchors, memory))


class FixedCenters(nn.Module):
    """Anchors (Q, 4), logits, whose centres stay where they were drawn and whose sizes are learned.

    Nothing moves the centres, weight decay included. Saved and loaded as one table, `weight`, as learned anchors are.
    """

    def __init__(self, num_queries: int) -> None:
        super().__init__()
        self.centers = nn.Parameter(torch.rand(num_queries, 2).logit(eps=1e-3), requires_grad=False)
        self.sizes = nn.Parameter(torch.randn(num_queries, 2))

    @property
    def weight(self) -> Tensor:
        return torch.cat((self.centers, self.sizes), 1)

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        destination[f"{prefix}weight"] = self.weight if keep_vars else self.weight.detach()

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *arguments: Any) -> None:
        table = state.pop(f"{prefix}weight", None)
        parts = {} if table is None else {f"{prefix}centers": table[:, :2], f"{prefix}sizes": table[:, 2:]}
        super()._load_from_state_dict({**state, **parts}, prefix, *arguments)


class TwoStageQueries(nn.Module):
    """The encoder's best proposals as anchor boxes.

    Args:
        num_queries: Q; fewer where the image has fewer tokens.
        channels: C.
        rank_by: "first" takes the tokens likeliest of the first class (Deformable DETR), "best" those likeliest of any
            (DINO).
        content: "proposal" makes content and place from the anchor's encoding (Deformable DETR), "learned" learns it
            (DINO's mixed selection), "mixed" learns it and makes the place (that of H-DETR, arXiv 2207.13080), "memory"
            takes the features that proposals are made of, "mapped" a linear map of the encoder's (DDQ, arXiv 2303.12776),
            "both" adds a normed linear map of the former to "proposal" (DETA, arXiv 2212.06137).
        temperature: of the anchor's encoding.
        select: which of the ranked tokens become queries, of `SELECTIONS`: a name, a dict with "type", or an object.

    Raises:
        ValueError: for an unknown choice.
    """

    coordinates = 4

    def __init__(
        self,
        num_queries: int = 300,
        channels: int = 256,
        rank_by: Literal["first", "best"] = "best",
        content: Literal["proposal", "learned", "mixed", "memory", "mapped", "both"] = "learned",
        temperature: float = 10000.0,
        select: Any = "best",
    ) -> None:
        super().__init__()
        check_choice("rank_by", rank_by, ("first", "best"))
        check_choice("content", content, ("proposal", "learned", "mixed", "memory", "mapped", "both"))
        _check_count(num_queries)
        self.num_queries, self.channels, self.rank_by, self.temperature = num_queries, channels, rank_by, temperature
        self.select = SELECTIONS.build(select)
        self.learns_content = content in ("learned", "mixed")
        self.proposals = TokenProposals(channels)
        self.content = self.rows(num_queries).content
        self.has_positions = self.makes_positions = content in ("proposal", "mixed", "both")
        self.from_anchor = AnchorProjection(channels, temperature) if self.has_positions else None
        self.from_memory = nn.Linear(channels, channels) if content == "mapped" else None
        self.from_token = (
            nn.Sequential(nn.Linear(channels, channels), nn.LayerNorm(channels)) if content == "both" else None
        )
        xavier_(self)

    def forward(self, memory: Memory, head: EncoderHead) -> Queries:
        return self.start(self, memory, self.choose(self.propose(memory, head)))

    def choose(self, proposals: Proposals) -> Proposals:
        """The same, of which `num_queries` are chosen as this source selects."""
        return replace(proposals, chosen=self.select(proposals, self.num_queries))

    def rows(self, count: int) -> Rows:
        return Rows(content=nn.Embedding(count, self.channels) if self.learns_content else None)

    def propose(self, memory: Memory, head: EncoderHead, tokens: nn.Module | None = None) -> Proposals:
        features, places = (tokens or self.proposals)(memory)
        predicted = self._predicted(head, features, places)
        return Proposals(
            tokens=features, places=places, strides=memory.token_strides, level_sizes=memory.level_sizes, **predicted
        )

    def proposed_by(self, head: EncoderHead, proposals: Proposals) -> Proposals:
        """What another head proposes of the same tokens, none of them chosen."""
        return replace(proposals, **self._predicted(head, proposals.tokens, proposals.places), chosen=None)

    def _predicted(self, head: EncoderHead, tokens: Tensor, places: Tensor) -> dict[str, Tensor]:
        logits, boxes = head.encoder_predictions(tokens, places)
        likely = head.ranking(logits)
        rank = likely[..., 0] if self.rank_by == "first" else likely.amax(-1)
        return {"logits": logits, "boxes": boxes, "rank": rank}

    def start(self, rows: nn.Module, memory: Memory, proposals: Proposals) -> Queries:
        anchors = gather_rows(proposals.boxes, proposals.chosen).detach()
        if self.from_anchor is None:
            return Queries(self._content(rows, memory, proposals), anchors=anchors, proposals=proposals)
        position, made = self.from_anchor(anchors)
        content = self._content(rows, memory, proposals, made)
        return Queries(content, position, anchors, proposals, lambda boxes: self.from_anchor(boxes)[0])

    def _content(self, rows: nn.Module, memory: Memory, proposals: Proposals, made: Tensor | None = None) -> Tensor:
        """(B, Q, C) what queries start with; `made` is what their anchors have for them."""
        if rows.content is not None:
            return _for_batch(rows.content.weight[: proposals.chosen.shape[1]], memory)
        if self.from_memory is not None:
            return self.from_memory(gather_rows(memory.features, proposals.chosen).detach())
        tokens = gather_rows(proposals.tokens, proposals.chosen).detach()
        if made is None:
            return tokens
        return made if self.from_token is None else made + self.from_token(tokens)


class AnchorProjection(nn.Module):
    """Place and content of a query from its anchor box (two-stage Deformable DETR).

    Args:
        channels: C.
        temperature: of the anchor's encoding.
        place: False makes the content alone.
    """

    def __init__(self, channels: int, temperature: float = 10000.0, place: bool = True) -> None:
        super().__init__()
        self.channels, self.temperature, self.place = channels, temperature, place
        self.linear = nn.Linear(2 * channels, (1 + place) * channels)
        self.norm = nn.LayerNorm((1 + place) * channels)

    def forward(self, anchors: Tensor) -> tuple[Tensor | None, Tensor]:
        """Positions, or None, and contents (B, K, C) of anchors (B, K, 4), logits."""
        encoding = reference_encoding(anchors.sigmoid(), self.channels // 2, self.temperature, order=(0, 1, 2, 3))
        made = self.norm(self.linear(encoding))
        return tuple(made.chunk(2, -1)) if self.place else (None, made)


def _check_content(content: str) -> None:
    if content not in ("zeros", "learned"):
        raise ValueError(f"content: expected 'zeros' or 'learned', got {content!r}")


def _check_count(num_queries: int) -> None:
    if num_queries < 1:
        raise ValueError(f"num_queries: expected at least 1, got {num_queries}")


def _for_batch(rows: Tensor, memory: Memory) -> Tensor:
    """(Q, K) -> (B, Q, K)."""
    return rows.expand(memory.features.shape[0], *rows.shape)  # which stays open in an export, as len() does not
