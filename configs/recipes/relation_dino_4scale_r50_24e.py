"""Relation-DETR R50, 24 epochs; published as 52.1 AP, with its relation of positions."""

from .parts import imagenet_resnet

detector = "dino_4scale_r50"
scheme = "relation"
data = "coco"
schedule = "detr_24e"
changes = imagenet_resnet(50)
