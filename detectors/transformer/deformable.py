"""Multi-scale deformable attention (Deformable DETR, arXiv 2010.04159, eq. 3) as a module."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ...heads.reference import wide_dtype
from ...ops import ms_deform_attn
from .guides import Guide
from .memory import Memory


class DeformableAttention(nn.Module):
    """Each query samples a few points around its reference on every level.

    Args:
        channels: C.
        heads: that divide them.
        levels: of the pyramid.
        points: samples per head and level.
        dropout: not used (the original has none here); taken so that all attentions are built alike.
        reset: start from zero offsets' weights and even weights (all but deformable-encoder-only DAB).
    """

    def __init__(
        self, channels: int, heads: int, dropout: float = 0.0, levels: int = 4, points: int = 4, reset: bool = True
    ) -> None:
        super().__init__()
        self.heads, self.levels, self.points = heads, levels, points
        self.reset = reset
        self.sampling_offsets = nn.Linear(channels, heads * levels * points * 2)
        self.attention_weights = nn.Linear(channels, heads * levels * points)
        self.value_proj = nn.Linear(channels, channels)
        self.output_proj = nn.Linear(channels, channels)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Heads look in eight directions, points ever farther; all weigh the same."""
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(offset_grid(self.heads, self.levels, self.points).flatten())
        if self.reset:
            nn.init.zeros_(self.sampling_offsets.weight)
            nn.init.zeros_(self.attention_weights.weight)
        nn.init.zeros_(self.attention_weights.bias)
        for projection in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(projection.weight)
            nn.init.zeros_(projection.bias)

    def forward(self, query: Tensor, reference: Tensor, features: Tensor, memory: Memory) -> Tensor:
        """Sample `features`.

        Args:
            query: (B, Q, C).
            reference: (B, Q, L, 2) xy or (B, Q, L, 4) cx, cy, w, h; shares of the padded batch.
            features: (B, S, C).
            memory: whose levels and padding they have.

        Returns:
            (B, Q, C).
        """
        value = self.value_proj(features)
        if memory.padding is not None:
            value = value.masked_fill(memory.padding[..., None], 0.0)
        locations = self._locations(query, reference, memory)
        logits = self.attention_weights(query).unflatten(-1, (self.heads, -1))
        weights = logits.softmax(-1, dtype=wide_dtype(logits))  # which the op takes; short half rows are slow besides
        sampled = ms_deform_attn(
            value.unflatten(-1, (self.heads, -1)),
            memory.spatial_shapes,
            memory.level_starts,
            locations.unflatten(-1, (self.levels, self.points, 2)),
            weights.unflatten(-1, (self.levels, self.points)),
            memory.level_shapes,
        )
        return self.output_proj(sampled)

    def _locations(self, query: Tensor, reference: Tensor, memory: Memory) -> Tensor:
        """(B, Q, H, L * P * 2): offsets count cells around a point, or half sizes of a box divided by the points.

        Cells are divided by in the weights, which are far fewer than the offsets, and references are spread over the
        points first, which leaves long rows to add.
        """
        weight, bias = self.sampling_offsets.weight, self.sampling_offsets.bias
        center = self._on_points(reference[..., :2])
        if reference.shape[-1] == 2:
            cells = memory.spatial_shapes.flip(-1).to(weight.dtype)[:, None].expand(-1, self.points, 2).flatten()
            cells = cells.repeat(self.heads)
            offsets = nn.functional.linear(query, weight / cells[:, None], bias / cells)
            return center + offsets.unflatten(-1, (self.heads, -1))
        offsets = nn.functional.linear(query, weight, bias).unflatten(-1, (self.heads, -1))
        return torch.addcmul(center, offsets, self._on_points(reference[..., 2:] * (0.5 / self.points)))

    def _on_points(self, values: Tensor) -> Tensor:
        """(B, Q, L, 2) -> (B, Q, 1, L * P * 2)."""
        return values[:, :, :, None].expand(-1, -1, -1, self.points, 2).flatten(2)[:, :, None]


def offset_grid(heads: int, levels: int, points: int) -> Tensor:
    """(H, L, P, 2) first offsets in cells: directions on the unit square, as many steps as the point's number.

    >>> offset_grid(4, 1, 2)[:, 0, 1].round().abs().tolist()
    [[2.0, 0.0], [0.0, 2.0], [2.0, 0.0], [0.0, 2.0]]
    """
    angle = torch.arange(heads, dtype=torch.float32) * (2 * math.pi / heads)
    direction = torch.stack((angle.cos(), angle.sin()), -1)
    direction = direction / direction.abs().amax(-1, keepdim=True)
    steps = torch.arange(1, points + 1, dtype=torch.float32)
    return (direction[:, None, None] * steps[:, None]).expand(heads, levels, points, 2).contiguous()


class DeformableCrossAttention(DeformableAttention):
    """Decoder queries sample the image around their references."""

    def forward(self, x: Tensor, guide: Guide, memory: Memory, own: None) -> Tensor:
        return super().forward(x + guide.position, guide.scaled_reference, memory.features, memory)
