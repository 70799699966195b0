"""DETR R101, 50 epochs; published as 36.9 AP."""

from .parts import imagenet_resnet

detector = "detr_r101"
data = "coco"
schedule = "detr_50e"
changes = imagenet_resnet(101)
