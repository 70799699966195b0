"""DN-DETR R50 with a deformable encoder, 12 epochs; published as 43.4 AP."""

from .parts import imagenet_resnet

detector = "dn_dab_deformable_encoder_only_r50"
data = "coco"
schedule = "detr_12e"
changes = imagenet_resnet(50)
