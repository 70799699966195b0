"""Deformable DETR++ R50, 36 epochs; published as 49.0 AP, by H-DETR."""

from .parts import imagenet_resnet

detector = "deformable_detr_plus_r50"
data = "coco"
schedule = "deformable_detr_36e"
changes = imagenet_resnet(50)
