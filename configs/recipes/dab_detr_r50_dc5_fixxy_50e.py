"""DAB-DETR R50-DC5, fixed random centres, 50 epochs; published as 44.7 AP."""

from .parts import imagenet_resnet

detector = "dab_detr_r50_dc5_fixxy"
data = "coco"
schedule = "detr_50e"
changes = imagenet_resnet(50)
