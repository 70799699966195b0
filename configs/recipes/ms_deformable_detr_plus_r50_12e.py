"""MS-DETR on Deformable DETR++ R50, 12 epochs; published as 48.8 AP."""

from .parts import imagenet_resnet

detector = "deformable_detr_plus_r50"
scheme = "ms"
data = "coco"
schedule = "deformable_detr_12e"
changes = imagenet_resnet(50)
