"""Deformable DETR R50, single scale, 50 epochs; published as 39.4 AP."""

from .parts import imagenet_resnet

detector = "deformable_detr_single_scale_r50"
data = "coco"
schedule = "deformable_detr_50e"
changes = imagenet_resnet(50)
