"""What the FCOS-style detector fragments share."""

from typing import Any

from mmdet.models import FPN

from detassign.detectors import DenseDetector, FoldedResNet, Preprocessor
from detassign.heads import DenseHead, PostProcess

IMAGENET_MEAN = (123.675, 116.28, 103.53)  # RGB, of 255
IMAGENET_STD = (58.395, 57.12, 57.375)
STRIDES = (8, 16, 32, 64, 128)


def resnet(depth: int, **changes: Any) -> dict[str, Any]:
    """A torchvision-style ResNet as every FCOS since 2019 uses it: stage 1 frozen, batch norm not trained."""
    return {
        "type": FoldedResNet,
        "depth": depth,
        "num_stages": 4,
        "out_indices": (1, 2, 3),
        "frozen_stages": 1,
        "norm_cfg": {"type": "BN", "requires_grad": True},
        "norm_eval": True,
        "style": "pytorch",
        **changes,
    }


def fcos(
    backbone: dict[str, Any],
    in_channels: tuple[int, ...],
    channels: int = 256,
    strides: tuple[int, ...] = STRIDES,
    **head: Any,
) -> dict[str, Any]:
    """FCOS over three backbone maps (strides 8, 16, 32): FPN with extra levels, a dense head, NMS at 0.6."""
    neck = {
        "type": FPN,
        "in_channels": list(in_channels),
        "out_channels": channels,
        "num_outs": len(strides),
        "add_extra_convs": "on_output",
        "relu_before_extra_convs": True,
    }
    return {
        "type": DenseDetector,
        "backbone": backbone,
        "neck": neck,
        "head": {"type": DenseHead, "in_channels": channels, "feat_channels": channels, "strides": strides, **head},
        "post_process": {"type": PostProcess},
        "preprocessor": {
            "type": Preprocessor,
            "mean": IMAGENET_MEAN,
            "std": IMAGENET_STD,
            "bgr_to_rgb": True,
            "pad_size_divisor": 32,
        },
    }
