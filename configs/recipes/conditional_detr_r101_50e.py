"""Conditional DETR R101, 50 epochs; published as 42.8 AP."""

from .parts import imagenet_resnet

detector = "conditional_detr_r101"
data = "coco"
schedule = "detr_50e"
changes = imagenet_resnet(101)
