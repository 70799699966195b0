"""DN-DETR R101-DC5, three patterns, 12 epochs; published as 42.8 AP."""

from .parts import imagenet_resnet

detector = "dn_detr_r101_dc5_3pat"
data = "coco"
schedule = "detr_12e"
changes = imagenet_resnet(101)
