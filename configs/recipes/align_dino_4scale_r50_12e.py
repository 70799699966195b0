"""Align-DETR R50, 12 epochs; published as 50.3 AP."""

from .parts import imagenet_resnet

detector = "dino_4scale_r50"
scheme = "align"
data = "coco"
schedule = "detr_12e"
changes = imagenet_resnet(50)
