"""Attention over dense maps: the usual one, and Conditional DETR's, which keeps content and place apart.

All take and give batch-first tensors and go through `scaled_dot_product_attention`, but with dropout on a CPU, where
torch's fused form has none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention

from .dropout import draws_quickly, drop
from .guides import Guide
from .memory import Memory


def attend(
    query: Tensor, key: Tensor, value: Tensor, heads: int, allowed: Tensor | Sight | None, dropout: float
) -> Tensor:
    """Softmax attention per head: (B, Q, E), (B, K, E), (B, K, V) -> (B, Q, V).

    Args:
        query, key, value: projected.
        heads: that divide E and V.
        allowed: the keys to look at, bool of shape (B, 1, Q, K) or one that broadcasts to it; or a `Sight`, for queries that
            look at each other; None allows all.
        dropout: of attention weights.
    """
    query, key, value = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (query, key, value))
    if allowed is None or isinstance(allowed, Tensor):
        attended = _attend(query, key, value, allowed, dropout)
    else:
        attended = allowed.attend(query, key, value, dropout)
    return attended.transpose(1, 2).flatten(-2)


class Sight(Protocol):
    """Which queries see which, where that is known to leave less to compute than a mask."""

    def attend(self, query: Tensor, key: Tensor, value: Tensor, dropout: float) -> Tensor:
        """(B, heads, Q, V) from queries and keys (B, heads, Q, E) and values (B, heads, Q, V)."""


@dataclass(frozen=True)
class InFront:
    """The first queries have a mask, the others see each other alone (denoising): a tenth to a third less to compute.

    Attributes:
        allowed: (D, Q) bool, what the first D see.
        others: (B, 1, Q - D, Q - D) bool, what the others see of each other; None is all.
    """

    allowed: Tensor
    others: Tensor | None = None

    def attend(self, query: Tensor, key: Tensor, value: Tensor, dropout: float) -> Tensor:
        count = len(self.allowed)
        first, others = query.split((count, query.shape[2] - count), 2)
        denoised = _attend(first, key, value, self.allowed, dropout)
        return torch.cat((denoised, _attend(others, key[:, :, count:], value[:, :, count:], self.others, dropout)), 2)


@dataclass(frozen=True)
class Apart:
    """Groups of equal size, one behind the other, that do not see each other; the cost grows linearly with their number.

    Attributes:
        groups: of queries.
    """

    groups: int

    def attend(self, query: Tensor, key: Tensor, value: Tensor, dropout: float) -> Tensor:
        heads = query.shape[1]
        folded = (x.unflatten(2, (self.groups, -1)).flatten(1, 2) for x in (query, key, value))
        return _attend(*folded, None, dropout).unflatten(1, (heads, self.groups)).flatten(2, 3)


def _attend(query: Tensor, key: Tensor, value: Tensor, allowed: Tensor | None, dropout: float) -> Tensor:
    """The same on (B, heads, …)."""
    if dropout and draws_quickly(query):  # torch's own is not fused with dropout on the CPU, and draws slowly
        return _attend_with_dropout(query, key, value, allowed, dropout)
    return scaled_dot_product_attention(query, key, value, attn_mask=allowed, dropout_p=dropout)


def _attend_with_dropout(query: Tensor, key: Tensor, value: Tensor, allowed: Tensor | None, dropout: float) -> Tensor:
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    if allowed is not None:
        scores = scores.masked_fill(~allowed, -torch.inf)
    return drop(scores.softmax(-1), dropout) @ value


def allowed_keys(padding: Tensor | None) -> Tensor | None:
    """(B, 1, 1, S) mask of the tokens to look at from (B, S) padding."""
    return None if padding is None else ~padding[:, None, None]


class Attention(nn.Module):
    """Multi-head attention with packed input projections (the layout of torch's own).

    Args:
        channels: of queries, keys, values and output.
        heads: that divide them.
        dropout: of attention weights.
    """

    def __init__(self, channels: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * channels, channels))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * channels))
        self.out_proj = nn.Linear(channels, channels)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, allowed: Tensor | Sight | None = None) -> Tensor:
        """(B, Q, C) from queries (B, Q, C), keys and values (B, K, C); query and key may be one tensor."""
        channels = query.shape[-1]
        if query is key:
            weight, bias = self.in_proj_weight[: 2 * channels], self.in_proj_bias[: 2 * channels]
            query, key = linear(query, weight, bias).chunk(2, -1)
        else:
            query = linear(query, self.in_proj_weight[:channels], self.in_proj_bias[:channels])
            weight, bias = (p[channels : 2 * channels] for p in (self.in_proj_weight, self.in_proj_bias))
            key = linear(key, weight, bias)
        value = linear(value, self.in_proj_weight[2 * channels :], self.in_proj_bias[2 * channels :])
        dropout = self.dropout if self.training else 0.0
        return self.out_proj(attend(query, key, value, self.heads, allowed, dropout))


class QuerySelfAttention(Attention):
    """Queries look at each other; their positions are added to what is compared."""

    def forward(self, x: Tensor, guide: Guide, allowed: Tensor | Sight | None) -> tuple[Tensor, None]:
        query = x + guide.position
        return super().forward(query, query, x, allowed), None


class CrossAttention(Attention):
    """Queries look at the image, positions added on both sides (DETR)."""

    def forward(self, x: Tensor, guide: Guide, memory: Memory, own: None) -> Tensor:
        key = memory.features + memory.positions
        return super().forward(x + guide.position, key, memory.features, allowed_keys(memory.padding))


class ConditionalSelfAttention(nn.Module):
    """Self-attention with a projection each for content and place (Conditional DETR).

    Returns the attended content and the projected queries, which per-level attention weighs its levels by.
    """

    def __init__(self, channels: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.query_content, self.query_position = nn.Linear(channels, channels), nn.Linear(channels, channels)
        self.key_content, self.key_position = nn.Linear(channels, channels), nn.Linear(channels, channels)
        self.value = nn.Linear(channels, channels)
        self.out_proj = nn.Linear(channels, channels)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, x: Tensor, guide: Guide, allowed: Tensor | Sight | None) -> tuple[Tensor, Tensor]:
        query = self.query_content(x) + self.query_position(guide.position)
        key = self.key_content(x) + self.key_position(guide.position)
        dropout = self.dropout if self.training else 0.0
        return self.out_proj(attend(query, key, self.value(x), self.heads, allowed, dropout)), query


class ConditionalCrossAttention(nn.Module):
    """Cross-attention whose heads compare content with content and place with place (Conditional DETR, section 3.3).

    Inside each head the query is [content, place] and so is the key; the scale is that of their joint width.

    Args:
        channels, heads: as usual.
        dropout: of attention weights.
        first: the first decoder layer adds the queries' learned place to their content, later ones do not.
    """

    def __init__(self, channels: int, heads: int, dropout: float = 0.0, first: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.query_content = nn.Linear(channels, channels)
        self.query_position = nn.Linear(channels, channels) if first else None
        self.query_spatial = nn.Linear(channels, channels)
        self.key_content, self.key_position = nn.Linear(channels, channels), nn.Linear(channels, channels)
        self.value = nn.Linear(channels, channels)
        self.out_proj = nn.Linear(channels, channels)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, x: Tensor, guide: Guide, memory: Memory, own: Tensor | None) -> Tensor:
        query, key, value = self.project(x, guide, memory)
        dropout = self.dropout if self.training else 0.0
        return self.out_proj(attend(query, key, value, self.heads, allowed_keys(memory.padding), dropout))

    def project(self, x: Tensor, guide: Guide, memory: Memory) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (B, Q, 2C), keys (B, S, 2C) and values (B, S, C), content and place interleaved by head."""
        query, key = self.query_content(x), self.key_content(memory.features)
        place = self.key_position(memory.positions)
        if self.query_position is not None:
            query, key = query + self.query_position(guide.position), key + place
        query = self._join(query, self.query_spatial(guide.spatial))
        return query, self._join(key, place.expand_as(key)), self.value(memory.features)

    def _join(self, content: Tensor, place: Tensor) -> Tensor:
        halves = (half.unflatten(-1, (self.heads, -1)) for half in (content, place))
        return torch.cat(tuple(halves), -1).flatten(-2)


class LevelCrossAttention(ConditionalCrossAttention):
    """Conditional cross-attention to each level apart, the levels weighed by the query (deformable-encoder-only DAB).

    Args:
        levels: L.
    """

    def __init__(self, channels: int, heads: int, dropout: float = 0.0, first: bool = False, levels: int = 4) -> None:
        super().__init__(channels, heads, dropout, first)
        self.levels = levels
        self.level_weights = nn.Linear(channels, levels)

    def forward(self, x: Tensor, guide: Guide, memory: Memory, own: Tensor) -> Tensor:
        query, key, value = self.project(x, guide, memory)
        keys, values = key.split(memory.level_sizes, 1), value.split(memory.level_sizes, 1)
        paddings = [None] * len(keys) if memory.padding is None else memory.padding.split(memory.level_sizes, 1)
        dropout = self.dropout if self.training else 0.0
        levels = [
            attend(query, key, value, self.heads, allowed_keys(padding), dropout)
            for key, value, padding in zip(keys, values, paddings, strict=True)
        ]
        weights = self.level_weights(own).softmax(-1)  # (B, Q, L)
        return (self.out_proj(torch.stack(levels, 2)) * weights[..., None]).sum(2)
