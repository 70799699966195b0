"""DAC-DETR R50, 12 epochs; published as 50.9 AP."""

from .parts import imagenet_resnet

detector = "dino_4scale_r50"
scheme = "dac"
data = "coco"
schedule = "detr_12e"
changes = imagenet_resnet(50)
