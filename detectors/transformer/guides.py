"""What a decoder layer is told about where its queries look: made anew for every layer from the queries' references."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from ...heads.mlp import MLP
from .memory import Memory
from .position import reference_encoding


@dataclass(frozen=True)
class Guide:
    """Where the queries of one layer look.

    Attributes:
        position: (B, Q, C) added to the content where queries are compared.
        spatial: (B, Q, C) what conditional attention compares with the cells' positions, or None.
        scaled_reference: (B, Q, L, 2 or 4) reference on each level, shares of the padded batch, or None.
    """

    position: Tensor
    spatial: Tensor | None = None
    scaled_reference: Tensor | None = None


def on_levels(reference: Tensor, memory: Memory) -> Tensor:
    """References (B, Q, K) in shares of the image -> (B, Q, L, K) in shares of the padded levels."""
    ratios = memory.valid_ratios.repeat(1, 1, reference.shape[-1] // 2)
    return reference[:, :, None] * ratios[:, None]


class LearnedGuide(nn.Module):
    """The queries' own positions, the same for all layers (DETR, Deformable DETR).

    Args:
        channels, layers: not used; all guides are built alike.
        deformable: the cross-attention samples around references.
    """

    needs_position = True

    def __init__(self, channels: int, layers: int, deformable: bool = False) -> None:
        super().__init__()
        self.deformable = deformable
        self.coordinates = 2 if deformable else 0

    def forward(self, layer: int, x: Tensor, position: Tensor, reference: Tensor | None, memory: Memory) -> Guide:
        return Guide(position, scaled_reference=on_levels(reference, memory) if self.deformable else None)


class ConditionalGuide(nn.Module):
    """The queries' own positions, and the reference point's encoding scaled by the content (Conditional DETR).

    Args:
        channels: C.
        layers: of the decoder; one alone scales nothing.
    """

    needs_position, coordinates = True, 2

    def __init__(self, channels: int, layers: int) -> None:
        super().__init__()
        self.channels = channels
        self.query_scale = MLP(channels, channels, channels) if layers > 1 else None

    def forward(self, layer: int, x: Tensor, position: Tensor, reference: Tensor, memory: Memory) -> Guide:
        spatial = reference_encoding(reference[..., :2], self.channels // 2)
        return Guide(position, spatial if layer == 0 else spatial * self.query_scale(x))


class AnchorGuide(nn.Module):
    """Positions from anchor boxes; the spatial query is modulated by the anchors' sizes (DAB-DETR, section 4).

    Args:
        channels: C.
        layers: of the decoder; one alone scales nothing.
    """

    needs_position, coordinates = False, 4

    def __init__(self, channels: int, layers: int) -> None:
        super().__init__()
        self.channels = channels
        self.reference_position = MLP(2 * channels, channels, channels)
        self.query_scale = MLP(channels, channels, channels) if layers > 1 else None
        self.reference_size = MLP(channels, channels, 2)

    def forward(self, layer: int, x: Tensor, position: None, reference: Tensor, memory: Memory) -> Guide:
        encoding = reference_encoding(reference, self.channels // 2)
        spatial = encoding[..., : self.channels]
        if layer > 0:
            spatial = spatial * self.query_scale(x)
        share = self.reference_size(x).sigmoid() / reference[..., 2:]  # of w, of h
        spatial = spatial.unflatten(-1, (2, -1)) * share.flip(-1)[..., None]  # the y half comes first
        return Guide(self.reference_position(encoding), spatial.flatten(-2))


class DeformableAnchorGuide(nn.Module):
    """Positions from anchor boxes for deformable cross-attention (DAB-Deformable-DETR, DINO).

    Args:
        channels: C.
        layers: of the decoder; one alone scales nothing.
        scaled: multiply positions by a function of the content from the second layer on (DAB; DINO does not).
    """

    needs_position, coordinates = False, 4

    def __init__(self, channels: int, layers: int, scaled: bool = False) -> None:
        super().__init__()
        self.channels = channels
        self.reference_position = MLP(2 * channels, channels, channels)
        self.query_scale = MLP(channels, channels, channels) if scaled and layers > 1 else None

    def forward(self, layer: int, x: Tensor, position: None, reference: Tensor, memory: Memory) -> Guide:
        on_all = on_levels(reference, memory)
        position = self.reference_position(reference_encoding(on_all[:, :, 0], self.channels // 2))
        if self.query_scale is not None and layer > 0:
            position = position * self.query_scale(x)
        return Guide(position, scaled_reference=on_all)


GUIDES = {
    "learned": LearnedGuide,
    "conditional": ConditionalGuide,
    "anchor": AnchorGuide,
    "deformable_anchor": DeformableAnchorGuide,
}
