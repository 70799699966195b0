"""DN-DETR on ResNet-101 with a dilated last stage: DAB-DETR with denoising."""

from .backbones import resnet
from .query_constants import ALONE, COCO_INPUT, DAB_DETR
from .query_parts import DN_LABELS, dab_detr

model = dab_detr(*resnet(101, dc5=True), DAB_DETR, denoising=DN_LABELS)
input = COCO_INPUT
evaluation = ALONE
schedule = "detr_50e"
