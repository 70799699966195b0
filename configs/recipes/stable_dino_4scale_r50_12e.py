"""Stable-DINO R50, 12 epochs; published as 50.4 AP, with a fusion of the encoder's layers."""

from .parts import imagenet_resnet

detector = "dino_4scale_r50"
scheme = "stable"
data = "coco"
schedule = "detr_12e"
changes = imagenet_resnet(50)
