"""DAB-Deformable-DETR on ResNet-50 (the authors' v2)."""

from .backbones import resnet
from .query_constants import COCO_INPUT, DAB_DEFORMABLE_DETR
from .query_parts import dab_deformable_detr

model = dab_deformable_detr(*resnet(50, maps=3), DAB_DEFORMABLE_DETR)
input = COCO_INPUT
schedule = "detr_50e"
