"""The backbones of query detectors, each with the channels of its maps: `detr(*resnet(50), size)`."""

from __future__ import annotations

from typing import Any

from mmdet.models import SwinTransformer

from detassign.detectors import ConvNeXt, MobileNetV2
from detassign.detectors.convnext import CHANNELS as CONVNEXT_CHANNELS
from detassign.detectors.mobilenet import CHANNELS as MOBILENET_CHANNELS

from . import parts

Backbone = tuple[dict[str, Any], tuple[int, ...]]
BASIC = (64, 128, 256, 512)
BOTTLENECK = (256, 512, 1024, 2048)
SWIN_L_CHANNELS = (192, 384, 768, 1536)


def resnet(depth: int, maps: int = 1, dc5: bool = False) -> Backbone:
    """ResNet as the DETR family has it: stem and first stage frozen, every batch norm frozen whole.

    Norms start at one, also the last of each block: at zero, where norms that learn may start, no gradient would ever
    pass them.

    Args:
        depth: 18, 34, 50, 101 or 152.
        maps: how many of the last stages give a map.
        dc5: the last stage dilates, but for its first block, instead of halving the map.
    """
    channels = BASIC if depth < 50 else BOTTLENECK
    frozen = {"norm_cfg": {"type": "BN", "requires_grad": False}, "zero_init_residual": False}
    return parts.resnet(depth, out_indices=last(maps, of=4), dc5=dc5, **frozen), channels[-maps:]


def swin_l(maps: int = 3) -> Backbone:
    """Swin-L pretrained at 384 pixels on ImageNet-22k; activations are computed again in the backward pass."""
    description = {
        "type": SwinTransformer,
        "pretrain_img_size": 384,
        "embed_dims": SWIN_L_CHANNELS[0],
        "depths": (2, 2, 18, 2),
        "num_heads": (6, 12, 24, 48),
        "window_size": 12,
        "drop_path_rate": 0.2,
        "out_indices": last(maps, of=4),
        "with_cp": True,
        "convert_weights": True,
    }
    return description, SWIN_L_CHANNELS[-maps:]


def convnext(size: str, maps: int = 3) -> Backbone:
    """ConvNeXt in torchvision's layout; `size` is one of detectors.convnext.CHANNELS."""
    return {"type": ConvNeXt, "size": size, "maps": maps}, CONVNEXT_CHANNELS[size][-maps:]


def mobilenet_v2(maps: int = 1) -> Backbone:
    """MobileNetV2 in torchvision's layout."""
    return {"type": MobileNetV2, "maps": maps}, MOBILENET_CHANNELS[-maps:]


def last(count: int, of: int) -> tuple[int, ...]:
    """Indices of the last so many stages.

    >>> last(3, of=4)
    (1, 2, 3)
    """
    return tuple(range(of - count, of))
