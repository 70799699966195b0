"""Deformable DETR++ R50, 12 epochs; published as 47.0 AP, by H-DETR."""

from .parts import imagenet_resnet

detector = "deformable_detr_plus_r50"
data = "coco"
schedule = "deformable_detr_12e"
changes = imagenet_resnet(50)
