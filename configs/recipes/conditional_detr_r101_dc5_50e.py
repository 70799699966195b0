"""Conditional DETR R101-DC5, 50 epochs; published as 45.0 AP."""

from .parts import imagenet_resnet

detector = "conditional_detr_r101_dc5"
data = "coco"
schedule = "detr_50e"
changes = imagenet_resnet(101)
