"""Encoders: tokens of the image look at each other, all of them (DETR) or a few around themselves (Deformable DETR)."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from ...heads.mlp import MLP
from .attention import Attention, allowed_keys
from .deformable import DeformableAttention
from .dropout import Dropout
from .guides import on_levels
from .layers import Activation, FeedForward, check_heads, xavier_
from .memory import Memory, valid_lines
from .position import grid_encoding


class TokenSelfAttention(Attention):
    """Every token looks at every other inside its image."""

    def forward(self, x: Tensor, positions: Tensor, memory: Memory) -> Tensor:
        query = x + positions
        return super().forward(query, query, x, allowed_keys(memory.padding))


class TokenDeformableAttention(DeformableAttention):
    """Every token samples around its own centre on all levels."""

    def forward(self, x: Tensor, positions: Tensor, memory: Memory) -> Tensor:
        centers = memory.centers.expand(x.shape[0], -1, -1)
        return super().forward(x + positions, on_levels(centers, memory), x, memory)


class EncoderLayer(nn.Module):
    """Self-attention and a feed-forward network, normed after each (or before each, `pre_norm`)."""

    def __init__(
        self,
        attention: nn.Module,
        channels: int,
        hidden: int,
        dropout: float = 0.0,
        activation: Activation = "relu",
        pre_norm: bool = False,
    ) -> None:
        super().__init__()
        self.attention = attention
        self.feed_forward = FeedForward(channels, hidden, activation, dropout)
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.dropout = Dropout(dropout)
        self.pre_norm = pre_norm

    def forward(self, x: Tensor, positions: Tensor, memory: Memory) -> Tensor:
        if self.pre_norm:
            x = x + self.dropout(self.attention(self.norm1(x), positions, memory))
            return x + self.dropout(self.feed_forward(self.norm2(x)))
        x = self.norm1(x + self.dropout(self.attention(x, positions, memory)))
        return self.norm2(x + self.dropout(self.feed_forward(x)))


class Encoder(nn.Module):
    """Base of both encoders: tokens and their positions from the levels, then layers.

    Args:
        layers: the encoder layers.
        channels: C.
        levels: number of levels with a learned embedding each; 0 has none.
        temperature, offset: of the position encoding.
        norm: applied to the result; None for post-norm encoders.
        position_scale: multiplies positions by a function of each layer's input, or None (DAB-DETR).
    """

    def __init__(
        self,
        layers: list[EncoderLayer],
        channels: int,
        levels: int,
        temperature: float,
        offset: float,
        norm: nn.Module | None = None,
        position_scale: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.channels, self.temperature, self.offset = channels, temperature, offset
        self.layers = nn.ModuleList(layers)
        self.norm = norm
        self.position_scale = position_scale
        xavier_(self)
        self.level_embedding = nn.Parameter(torch.randn(levels, channels)) if levels else None

    def forward(self, levels: list[Tensor], sizes: Tensor, batch_shape: tuple[int, int], padded: bool) -> Memory:
        """Encode feature maps.

        Args:
            levels: (B, C, h, w) each, fine to coarse.
            sizes: (B, 2) valid width and height, pixels.
            batch_shape: height and width of the padded batch, pixels.
            padded: whether any image is smaller than that.
        """
        memory = self.tokens(levels, sizes if padded else sizes[:1], batch_shape, padded)
        x = memory.features
        for layer in self.layers:
            positions = memory.positions
            if self.position_scale is not None:
                positions = positions * self.position_scale(x)
            x = layer(x, positions, memory)
        return replace(memory, features=x if self.norm is None else self.norm(x))

    def tokens(self, levels: list[Tensor], sizes: Tensor, batch_shape: tuple[int, int], padded: bool) -> Memory:
        """The levels as one sequence, not yet encoded."""
        shapes = tuple((level.shape[-2], level.shape[-1]) for level in levels)
        rows = tuple(valid_lines(sizes[:, 1], batch_shape[0], height) for height, _ in shapes)
        columns = tuple(valid_lines(sizes[:, 0], batch_shape[1], width) for _, width in shapes)
        positions = torch.cat(
            [
                grid_encoding(r, c, self.channels, self.temperature, self.offset).flatten(1, 2)
                + (0.0 if self.level_embedding is None else self.level_embedding[index])
                for index, (r, c) in enumerate(zip(rows, columns, strict=True))
            ],
            1,
        )
        features = torch.cat([level.flatten(2).transpose(1, 2) for level in levels], 1)
        return Memory(features, positions.to(features.dtype), shapes, rows, columns, padded, batch_shape)


class DenseEncoder(Encoder):
    """DETR's encoder on one level.

    Args:
        layers, channels, heads, hidden, dropout, activation: as usual.
        pre_norm: norm before each part, and once at the end.
        temperature: of the position encoding; 10000, DAB-DETR's 20.
        scale_positions: multiply positions by a function of each layer's input (DAB-DETR).
    """

    def __init__(
        self,
        layers: int = 6,
        channels: int = 256,
        heads: int = 8,
        hidden: int = 2048,
        dropout: float = 0.1,
        activation: Activation = "relu",
        pre_norm: bool = False,
        temperature: float = 10000.0,
        scale_positions: bool = False,
    ) -> None:
        check_heads(channels, heads)
        built = [
            EncoderLayer(TokenSelfAttention(channels, heads, dropout), channels, hidden, dropout, activation, pre_norm)
            for _ in range(layers)
        ]
        norm = nn.LayerNorm(channels) if pre_norm else None
        scale = MLP(channels, channels, channels) if scale_positions else None
        super().__init__(built, channels, 0, temperature, 0.0, norm, scale)


class DeformableEncoder(Encoder):
    """Deformable DETR's encoder on several levels.

    Args:
        layers, channels, heads, hidden, dropout, activation: as usual.
        levels: of the pyramid.
        points: samples per head and level.
        temperature, offset: of the position encoding; 10000 and -0.5 (Deformable), 20 and 0 (DINO).
        reset_attention: start sampling offsets and weights from the grid; False leaves them their Xavier draw.
    """

    def __init__(
        self,
        layers: int = 6,
        channels: int = 256,
        heads: int = 8,
        hidden: int = 1024,
        dropout: float = 0.1,
        activation: Activation = "relu",
        levels: int = 4,
        points: int = 4,
        temperature: float = 10000.0,
        offset: float = -0.5,
        reset_attention: bool = True,
    ) -> None:
        check_heads(channels, heads)
        attentions = [
            TokenDeformableAttention(channels, heads, levels=levels, points=points, reset=reset_attention)
            for _ in range(layers)
        ]
        built = [EncoderLayer(attention, channels, hidden, dropout, activation) for attention in attentions]
        super().__init__(built, channels, levels, temperature, offset)
        for attention in attentions:
            attention.reset_parameters()
