"""DN-DETR with a deformable encoder and dense attention to four levels, three patterns, on ResNet-50."""

from .backbones import resnet
from .query_constants import COCO_INPUT, DAB_DETR
from .query_parts import DN_LABELS, dab_deformable_encoder_only

model = dab_deformable_encoder_only(*resnet(50, maps=3), DAB_DETR, patterns=3, denoising=DN_LABELS)
input = COCO_INPUT
schedule = "detr_50e"
