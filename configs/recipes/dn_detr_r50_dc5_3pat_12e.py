"""DN-DETR R50-DC5, three patterns, 12 epochs; published as 41.7 AP."""

from .parts import imagenet_resnet

detector = "dn_detr_r50_dc5_3pat"
data = "coco"
schedule = "detr_12e"
changes = imagenet_resnet(50)
