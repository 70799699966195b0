"""Deformable DETR R50-DC5, single scale, 50 epochs; published as 41.5 AP."""

from .parts import imagenet_resnet

detector = "deformable_detr_single_scale_r50_dc5"
data = "coco"
schedule = "deformable_detr_50e"
changes = imagenet_resnet(50)
