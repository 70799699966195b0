"""DINO Swin-L, five scales, 12 epochs; published as 57.3 AP."""

from .parts import imagenet_swin_l

detector = "dino_5scale_swin_l"
data = "coco"
schedule = "detr_12e"
changes = imagenet_swin_l()
