"""What recipes share: the ImageNet weights that backbones start from."""

from typing import Any

SWIN_L = "https://github.com/SwinTransformer/storage/releases/download/v1.0.0/swin_large_patch4_window12_384_22k.pth"


def imagenet_resnet(depth: int) -> dict[str, Any]:
    """torchvision's weights."""
    return _pretrained(f"torchvision://resnet{depth}")


def imagenet_swin_l() -> dict[str, Any]:
    """The authors' weights, trained on ImageNet-22k at 384 pixels."""
    return _pretrained(SWIN_L)


def _pretrained(checkpoint: str) -> dict[str, Any]:
    return {"model.backbone.init_cfg": {"type": "Pretrained", "checkpoint": checkpoint}}
