"""Group DETR on Conditional DETR R50, 12 epochs; published as 37.6 AP."""

from .parts import imagenet_resnet

detector = "conditional_detr_r50"
scheme = "group"
data = "coco"
schedule = "detr_12e"
changes = imagenet_resnet(50)
