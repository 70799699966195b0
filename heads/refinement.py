"""DW's box refinement: each side of a coarse box is re-read at a boundary point near the middle of that side.

"A Dual Weighting Label Assignment Scheme for Object Detection" (arXiv 2203.09730), section 3.4. Nothing is detached:
gradients flow through the sampled boxes, the learned offsets and the coarse distances that place them.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from ..assigners.boxes import boxes_from_distances, side_distances
from ..assigners.description import constants
from ..assigners.needs import required
from ..ops import sample_maps


class BoxRefinement(nn.Module):
    """Replace every side of a box by what the box map says at that side's boundary point.

    Args:
        channels: of the regression feature that predicts the learned part of the offsets.
        border: "zeros" as the original (a tap outside the map reads coordinate 0, which pulls boxes at the border
            towards the origin), or "clamp" to read the nearest cell instead.

    Raises:
        ValueError: for an unknown border.
    """

    def __init__(self, channels: int, border: Literal["zeros", "clamp"] = "zeros") -> None:
        super().__init__()
        if border not in ("zeros", "clamp"):
            raise ValueError(f'border: expected "zeros" or "clamp", got {border!r}')
        self.reg_offset = nn.Conv2d(channels, 8, 3, padding=1)
        nn.init.normal_(self.reg_offset.weight, std=0.01)
        nn.init.zeros_(required("bias", self.reg_offset.bias))
        self.border = border

    extra_repr = constants

    def forward(self, feature: Tensor, distances: Tensor, points: Tensor, stride: int) -> Tensor:
        """Refined distances.

        Args:
            feature: (B, channels, H, W).
            distances: (B, 4, H, W) coarse ltrb, pixels, not negative.
            points: (H, W, 2) xy of the cells, pixels.
            stride: pixels per cell.

        Returns:
            (B, 4, H, W) ltrb, pixels, not negative.
        """
        boxes = boxes_from_distances(points, distances.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        offsets = boundary_offsets(self.reg_offset(feature).to(distances.dtype), distances / stride)
        sampled = sample_maps(boxes.contiguous(), offsets, border=self.border)
        return side_distances(points, sampled.permute(0, 2, 3, 1)).clamp(min=0).permute(0, 3, 1, 2)


def boundary_offsets(learned: Tensor, distances: Tensor) -> Tensor:
    """Where each side is read: its own boundary point plus a learned shift.

    Args:
        learned: (B, 8, H, W), (dy, dx) for the left, top, right and bottom side, cells.
        distances: (B, 4, H, W) ltrb, cells.

    Returns:
        (B, 4, 2, H, W) as (dy, dx), cells.
    """
    left, top, right, bottom = distances.unbind(1)
    still = torch.zeros_like(left)
    side = torch.stack([still, -left, -top, still, still, right, bottom, still], 1)  # (B, 8, H, W)
    return (learned + side).unflatten(1, (4, 2))
