"""DETA R50, 12 epochs; published as 50.1 AP."""

from .parts import imagenet_resnet

detector = "deformable_detr_two_stage_5scale_r50"
scheme = "deta"
data = "coco"
schedule = "deformable_detr_12e"
changes = imagenet_resnet(50) | {"schedule.decay.epochs": (10,)}
