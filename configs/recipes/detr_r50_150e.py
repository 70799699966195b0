"""DETR R50, 150 epochs; published as 39.5 AP."""

from .parts import imagenet_resnet

detector = "detr_r50"
data = "coco"
schedule = "detr_150e"
changes = imagenet_resnet(50)
