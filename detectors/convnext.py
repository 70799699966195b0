"""ConvNeXt (arXiv 2201.03545) as a backbone in torchvision's layout, so its ImageNet weights load as they are.

Each map leaves through a layer norm of its own, as in the detectors of ConvNeXt's authors and in DINO.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

from torch import Tensor, nn
from torchvision.models.convnext import CNBlockConfig, LayerNorm2d
from torchvision.models.convnext import ConvNeXt as Classifier

STAGE_ENDS = (1, 3, 5, 7)  # stem, stage, then three times a halving and a stage
CHANNELS = {
    "tiny": (96, 192, 384, 768),
    "small": (96, 192, 384, 768),
    "base": (128, 256, 512, 1024),
    "large": (192, 384, 768, 1536),
    "xlarge": (256, 512, 1024, 2048),
}
BLOCKS = {size: (3, 3, 9 if size == "tiny" else 27, 3) for size in CHANNELS}


class ConvNeXt(nn.Module):
    """The last feature maps, out of those at stride 4, 8, 16 and 32; their channels are in `CHANNELS`.

    Args:
        size: "tiny", "small", "base", "large" or "xlarge".
        maps: how many.
        stochastic_depth: probability that the last block is skipped in training; it rises to that from zero.

    Raises:
        ValueError: for an unknown size or number of maps.
    """

    def __init__(
        self,
        size: Literal["tiny", "small", "base", "large", "xlarge"] = "large",
        maps: int = 3,
        stochastic_depth: float = 0.0,
    ) -> None:
        super().__init__()
        if size not in CHANNELS:
            raise ValueError(f"size: expected one of {', '.join(CHANNELS)}, got {size!r}")
        if not 1 <= maps <= len(STAGE_ENDS):
            raise ValueError(f"maps: expected 1 to {len(STAGE_ENDS)}, got {maps!r}")
        after = (*CHANNELS[size][1:], None)
        stages = [CNBlockConfig(*stage) for stage in zip(CHANNELS[size], after, BLOCKS[size], strict=True)]
        self.features = Classifier(stages, stochastic_depth).features
        used = range(len(STAGE_ENDS) - maps, len(STAGE_ENDS))
        self.norms = nn.ModuleDict({str(stage): _norm(CHANNELS[size][stage]) for stage in used})

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) -> maps (B, channels, H / stride, W / stride), fine to coarse."""
        maps = []
        for index, block in enumerate(self.features):
            images = block(images)
            stage = str(index // 2)
            if index in STAGE_ENDS and stage in self.norms:
                maps.append(self.norms[stage](images))
        return tuple(maps)


_norm = partial(LayerNorm2d, eps=1e-6)
