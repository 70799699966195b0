"""DN-DETR on ResNet-101 with a dilated last stage, three patterns at each of 300 anchor boxes."""

from .backbones import resnet
from .query_constants import ALONE, COCO_INPUT, DAB_DETR
from .query_parts import DN_LABELS, dab_detr

model = dab_detr(*resnet(101, dc5=True), DAB_DETR, patterns=3, denoising=DN_LABELS)
input = COCO_INPUT
evaluation = ALONE
schedule = "detr_12e"
