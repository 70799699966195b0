"""DETR R101-DC5, 500 epochs; published as 44.9 AP."""

from .parts import imagenet_resnet

detector = "detr_r101_dc5"
data = "coco"
schedule = "detr_500e"
changes = imagenet_resnet(101)
