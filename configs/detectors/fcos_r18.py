"""FCOS-style detector on ResNet-18, 256 channels, five levels."""

from .parts import fcos, resnet

model = fcos(resnet(18), in_channels=(128, 256, 512))
input = {"scale": (1333, 800)}
schedule = "coco_1x"
