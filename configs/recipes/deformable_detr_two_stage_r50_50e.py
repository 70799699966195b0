"""Deformable DETR R50 with box refinement and two stages, 50 epochs; published as 46.9 AP."""

from .parts import imagenet_resnet

detector = "deformable_detr_two_stage_r50"
data = "coco"
schedule = "deformable_detr_50e"
changes = imagenet_resnet(50)
