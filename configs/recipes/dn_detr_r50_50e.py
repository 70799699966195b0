"""DN-DETR R50, 50 epochs; published as 44.4 AP (44.1 in the paper)."""

from .parts import imagenet_resnet

detector = "dn_detr_r50"
data = "coco"
schedule = "detr_50e"
changes = imagenet_resnet(50)
