"""DAB-DETR R50, 50 epochs; published as 42.2 AP."""

from .parts import imagenet_resnet

detector = "dab_detr_r50"
data = "coco"
schedule = "detr_50e"
changes = imagenet_resnet(50)
