"""Deformable DETR R50, 50 epochs; published as 44.5 AP."""

from .parts import imagenet_resnet

detector = "deformable_detr_r50"
data = "coco"
schedule = "deformable_detr_50e"
changes = imagenet_resnet(50)
