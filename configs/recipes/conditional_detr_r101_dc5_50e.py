"""Conditional DETR R101-DC5, 50 epochs of batch 8; published as 45.0 AP."""

from .parts import imagenet_resnet

detector = "conditional_detr_r101_dc5"
data = "coco"
schedule = "detr_50e"
changes = {**imagenet_resnet(101), "schedule.batch_size": 8, "schedule.base_batch_size": 8}
