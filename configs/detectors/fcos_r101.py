"""FCOS-style detector on ResNet-101, 256 channels, five levels."""

from .parts import fcos, resnet

model = fcos(resnet(101), in_channels=(512, 1024, 2048))
input = {"scale": (1333, 800)}
schedule = "coco_1x"
