"""DAB-Deformable-DETR R50 (v2), 50 epochs; published as 48.7 AP."""

from .parts import imagenet_resnet

detector = "dab_deformable_detr_r50"
data = "coco"
schedule = "detr_50e"
changes = imagenet_resnet(50)
