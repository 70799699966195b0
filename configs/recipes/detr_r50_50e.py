"""DETR R50, 50 epochs; published as 34.8 AP."""

from .parts import imagenet_resnet

detector = "detr_r50"
data = "coco"
schedule = "detr_50e"
changes = imagenet_resnet(50)
