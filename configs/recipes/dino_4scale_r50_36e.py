"""DINO R50, four scales, 36 epochs; published as 50.9 AP."""

from .parts import imagenet_resnet

detector = "dino_4scale_r50"
data = "coco"
schedule = "detr_36e"
changes = imagenet_resnet(50)
