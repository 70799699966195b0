"""FCOS-style detector on MobileNetV2, 96 channels in torchvision's layout: small photographs on a laptop CPU."""

from detassign.detectors import MobileNetV2

from .parts import fcos

model = fcos(
    {"type": MobileNetV2},
    in_channels=(32, 96, 320),
    channels=96,
    stacked_convs=2,
    norm_groups=16,
    initial_distance=2.0,  # boxes start four strides wide
)
input = {"scale": (384, 384)}
schedule = "finetune"
