"""DINO Swin-L, four scales, 36 epochs; published as 58.0 AP."""

from .parts import imagenet_swin_l

detector = "dino_4scale_swin_l"
data = "coco"
schedule = "detr_36e"
changes = imagenet_swin_l()
