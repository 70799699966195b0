"""DAB-DETR with a deformable encoder and dense attention to four levels, three patterns, on ResNet-50."""

from .backbones import resnet
from .query_constants import COCO_INPUT, DAB_DETR
from .query_parts import dab_deformable_encoder_only

model = dab_deformable_encoder_only(*resnet(50, maps=3), DAB_DETR, patterns=3)
input = COCO_INPUT
schedule = "detr_50e"
