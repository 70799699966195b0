"""DN-DAB-Deformable-DETR R50 (v2), 24 epochs; published as 48.4 AP."""

from .parts import imagenet_resnet

detector = "dn_dab_deformable_detr_r50"
data = "coco"
schedule = "detr_24e"
changes = imagenet_resnet(50)
