"""DINO R50, five scales, 24 epochs; published as 51.3 AP."""

from .parts import imagenet_resnet

detector = "dino_5scale_r50"
data = "coco"
schedule = "detr_24e"
changes = imagenet_resnet(50)
