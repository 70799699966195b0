"""DINO R50, four scales, 12 epochs; published as 49.0 AP."""

from .parts import imagenet_resnet

detector = "dino_4scale_r50"
data = "coco"
schedule = "detr_12e"
changes = imagenet_resnet(50)
