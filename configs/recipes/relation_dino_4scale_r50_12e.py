"""Relation-DETR R50, 12 epochs; published as 51.7 AP, with its relation of positions."""

from .parts import imagenet_resnet

detector = "dino_4scale_r50"
scheme = "relation"
data = "coco"
schedule = "detr_12e"
changes = imagenet_resnet(50)
