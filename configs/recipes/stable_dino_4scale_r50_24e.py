"""Stable-DINO R50, 24 epochs; published as 51.5 AP, with a fusion of the encoder's layers."""

from .parts import imagenet_resnet

detector = "dino_4scale_r50"
scheme = "stable"
data = "coco"
schedule = "detr_24e"
changes = imagenet_resnet(50)
