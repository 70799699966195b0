"""DAB-DETR R50-DC5, three patterns, 50 epochs; published as 45.7 AP."""

from .parts import imagenet_resnet

detector = "dab_detr_r50_dc5_3pat"
data = "coco"
schedule = "detr_50e"
changes = imagenet_resnet(50)
