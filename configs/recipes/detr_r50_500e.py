"""DETR R50, 500 epochs; published as 42.0 AP."""

from .parts import imagenet_resnet

detector = "detr_r50"
data = "coco"
schedule = "detr_500e"
changes = imagenet_resnet(50)
