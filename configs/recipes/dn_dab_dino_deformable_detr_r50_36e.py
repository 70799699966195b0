"""DN-DETR's two-stage contrastive variant R50, 36 epochs; published as 50.8 to 51.0 AP."""

from .parts import imagenet_resnet

detector = "dn_dab_dino_deformable_detr_r50"
data = "coco"
schedule = "detr_36e"
changes = imagenet_resnet(50)
