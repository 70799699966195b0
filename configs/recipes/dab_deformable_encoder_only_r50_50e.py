"""DAB-DETR R50 with a deformable encoder, 50 epochs; published as 46.9 AP."""

from .parts import imagenet_resnet

detector = "dab_deformable_encoder_only_r50"
data = "coco"
schedule = "detr_50e"
changes = imagenet_resnet(50)
