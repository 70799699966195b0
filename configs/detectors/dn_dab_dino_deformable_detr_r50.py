"""DN-DETR's own two-stage variant with contrastive denoising on ResNet-50."""

from .backbones import resnet
from .query_constants import COCO_INPUT, DN_DINO
from .query_parts import dn_dab_dino_deformable_detr

model = dn_dab_dino_deformable_detr(*resnet(50, maps=3), DN_DINO)
input = COCO_INPUT
schedule = "detr_36e"
