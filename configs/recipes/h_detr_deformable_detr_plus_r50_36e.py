"""H-DETR on Deformable DETR++ R50, 36 epochs; published as 50.0 AP."""

from .parts import imagenet_resnet

detector = "deformable_detr_plus_r50"
scheme = "h_detr"
data = "coco"
schedule = "deformable_detr_36e"
changes = imagenet_resnet(50)
