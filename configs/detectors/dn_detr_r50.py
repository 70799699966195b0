"""DN-DETR on ResNet-50: DAB-DETR with denoising."""

from .backbones import resnet
from .query_constants import COCO_INPUT, DAB_DETR
from .query_parts import DN_LABELS, dab_detr

model = dab_detr(*resnet(50), DAB_DETR, denoising=DN_LABELS)
input = COCO_INPUT
schedule = "detr_50e"
