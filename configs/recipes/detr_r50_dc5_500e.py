"""DETR R50-DC5, 500 epochs; published as 43.3 AP."""

from .parts import imagenet_resnet

detector = "detr_r50_dc5"
data = "coco"
schedule = "detr_500e"
changes = imagenet_resnet(50)
