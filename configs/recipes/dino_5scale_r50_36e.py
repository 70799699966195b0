"""DINO R50, five scales, 36 epochs; published as 51.2 AP."""

from .parts import imagenet_resnet

detector = "dino_5scale_r50"
data = "coco"
schedule = "detr_36e"
changes = imagenet_resnet(50)
