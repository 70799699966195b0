"""Rank-DETR's cost and loss, R50, 36 epochs; published as 51.2 AP, with its layers by rank."""

from .parts import imagenet_resnet

detector = "deformable_detr_plus_r50"
scheme = "rank"
data = "coco"
schedule = "deformable_detr_36e"
changes = imagenet_resnet(50)
