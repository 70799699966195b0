"""DINO Swin-L, five scales, 36 epochs; published as 58.5 AP."""

from .parts import imagenet_swin_l

detector = "dino_5scale_swin_l"
data = "coco"
schedule = "detr_36e"
changes = imagenet_swin_l()
