"""DETA R50, 24 epochs; published as 51.1 AP."""

from .parts import imagenet_resnet

detector = "deformable_detr_two_stage_5scale_r50"
scheme = "deta"
data = "coco"
schedule = "deformable_detr_24e"
changes = imagenet_resnet(50)
