"""DINO R50, four scales, 24 epochs; published as 50.4 AP."""

from .parts import imagenet_resnet

detector = "dino_4scale_r50"
data = "coco"
schedule = "detr_24e"
changes = imagenet_resnet(50)
