"""Conditional DETR R50, 50 epochs; published as 41.0 AP."""

from .parts import imagenet_resnet

detector = "conditional_detr_r50"
data = "coco"
schedule = "detr_50e"
changes = imagenet_resnet(50)
