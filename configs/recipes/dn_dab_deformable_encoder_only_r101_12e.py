"""DN-DETR R101 with a deformable encoder, 12 epochs; published as 44.1 AP."""

from .parts import imagenet_resnet

detector = "dn_dab_deformable_encoder_only_r101"
data = "coco"
schedule = "detr_12e"
changes = imagenet_resnet(101)
