"""Deformable DETR R50 with box refinement, 50 epochs; published as 46.2 AP."""

from .parts import imagenet_resnet

detector = "deformable_detr_refine_r50"
data = "coco"
schedule = "deformable_detr_50e"
changes = imagenet_resnet(50)
