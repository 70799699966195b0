"""ConvNeXt (arXiv 2201.03545) as a backbone in torchvision's layout, so its ImageNet weights load as they are.

The maps leave without the extra layer norms that ConvNeXt's own detectors put behind them: a query detector's projection
has a norm itself.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torchvision import models

STAGE_ENDS = (1, 3, 5, 7)  # stem, stage, then three times a halving and a stage
CHANNELS = {
    "tiny": (96, 192, 384, 768),
    "small": (96, 192, 384, 768),
    "base": (128, 256, 512, 1024),
    "large": (192, 384, 768, 1536),
}


class ConvNeXt(nn.Module):
    """The last feature maps, out of those at stride 4, 8, 16 and 32; their channels are in `CHANNELS`.

    Args:
        size: "tiny", "small", "base" or "large".
        maps: how many.
        stochastic_depth: probability that the last block is skipped in training; it rises to that from zero.

    Raises:
        ValueError: for an unknown size or number of maps.
    """

    def __init__(
        self,
        size: Literal["tiny", "small", "base", "large"] = "large",
        maps: int = 3,
        stochastic_depth: float = 0.2,
    ) -> None:
        super().__init__()
        if size not in CHANNELS:
            raise ValueError(f"size: expected one of {', '.join(CHANNELS)}, got {size!r}")
        if not 1 <= maps <= len(STAGE_ENDS):
            raise ValueError(f"maps: expected 1 to {len(STAGE_ENDS)}, got {maps!r}")
        make = getattr(models, f"convnext_{size}")
        self.features = make(weights=None, stochastic_depth_prob=stochastic_depth).features
        self.ends = STAGE_ENDS[-maps:]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) -> maps (B, channels, H / stride, W / stride), fine to coarse."""
        maps = []
        for index, block in enumerate(self.features):
            images = block(images)
            if index in self.ends:
                maps.append(images)
        return tuple(maps)
