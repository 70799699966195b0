"""MobileNetV2 (arXiv 1801.04381) as a backbone in torchvision's layout, so its ImageNet weights load as they are."""

from __future__ import annotations

from torch import Tensor, nn
from torchvision.models import mobilenet_v2
from torchvision.models.mobilenetv2 import InvertedResidual

from .folding import conv_norm

STAGE_ENDS = (6, 13, 17)  # last block at stride 8, 16 and 32
CHANNELS = (32, 96, 320)


class MobileNetV2(nn.Module):
    """The feature maps at stride 8, 16 and 32: 32, 96 and 320 channels.

    Norms with fixed statistics are folded into the convolutions before them; hooks of layers within are then not called.

    Args:
        frozen_blocks: the first so many of the 18 blocks keep their weights.
        norm_eval: leave batch-norm statistics as they are (right for pretrained weights and small batches).
        maps: how many of the maps, counted from the coarsest.

    Raises:
        ValueError: for an impossible number of maps.
    """

    def __init__(self, frozen_blocks: int = 2, norm_eval: bool = True, maps: int = 3) -> None:
        super().__init__()
        if not 1 <= maps <= len(STAGE_ENDS):
            raise ValueError(f"maps: expected 1 to {len(STAGE_ENDS)}, got {maps!r}")
        self.features = mobilenet_v2(weights=None).features[: STAGE_ENDS[-1] + 1]
        self.ends = STAGE_ENDS[-maps:]
        self.norm_eval = norm_eval
        for block in self.features[:frozen_blocks]:
            block.requires_grad_(False)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) -> maps (B, channels, H / stride, W / stride), fine to coarse."""
        maps = []
        for index, block in enumerate(self.features):
            images = run_block(block, images)
            if index in self.ends:
                maps.append(images)
        return tuple(maps)

    def train(self, mode: bool = True) -> MobileNetV2:
        super().train(mode)
        if self.norm_eval:
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self


def run_block(block: nn.Module, x: Tensor) -> Tensor:
    """A block of torchvision's: a convolution with its norm and activation, or an inverted residual of some."""
    if not isinstance(block, InvertedResidual):
        return _run_layers(block, x)
    changed = _run_layers(block.conv, x)
    return x + changed if block.use_res_connect else changed


def _run_layers(layers: nn.Module, x: Tensor) -> Tensor:
    left = [layer for layer in layers.modules() if not isinstance(layer, nn.Sequential)]
    while left:
        layer = left.pop(0)
        x = conv_norm(x, layer, left.pop(0)) if isinstance(layer, nn.Conv2d) else layer(x)
    return x
