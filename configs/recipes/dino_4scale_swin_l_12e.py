"""DINO Swin-L, four scales, 12 epochs; published as 56.8 AP."""

from .parts import imagenet_swin_l

detector = "dino_4scale_swin_l"
data = "coco"
schedule = "detr_12e"
changes = imagenet_swin_l()
