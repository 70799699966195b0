"""DINO R50, five scales, 12 epochs; published as 49.4 AP."""

from .parts import imagenet_resnet

detector = "dino_5scale_r50"
data = "coco"
schedule = "detr_12e"
changes = imagenet_resnet(50)
