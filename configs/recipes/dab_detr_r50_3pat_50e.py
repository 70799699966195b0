"""DAB-DETR R50, three patterns, 50 epochs; published as 42.6 AP."""

from .parts import imagenet_resnet

detector = "dab_detr_r50_3pat"
data = "coco"
schedule = "detr_50e"
changes = imagenet_resnet(50)
