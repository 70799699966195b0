"""Align-DETR R50, 24 epochs; published as 51.4 AP."""

from .parts import imagenet_resnet

detector = "dino_4scale_r50"
scheme = "align"
data = "coco"
schedule = "detr_24e"
changes = imagenet_resnet(50)
