"""DETR R101, 500 epochs; published as 43.5 AP."""

from .parts import imagenet_resnet

detector = "detr_r101"
data = "coco"
schedule = "detr_500e"
changes = imagenet_resnet(101)
