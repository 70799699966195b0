"""FCOS-style detector on ResNet-50, 256 channels, five levels."""

from .parts import fcos, resnet

model = fcos(resnet(50), in_channels=(512, 1024, 2048))
input = {"scale": (1333, 800)}
schedule = "coco_1x"
