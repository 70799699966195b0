"""Conditional DETR on ResNet-50 with a dilated last stage, 300 queries."""

from .backbones import resnet
from .query_constants import ALONE, COCO_INPUT, CONDITIONAL_DETR
from .query_parts import conditional_detr

model = conditional_detr(*resnet(50, dc5=True), CONDITIONAL_DETR)
input = COCO_INPUT
evaluation = ALONE
schedule = "detr_50e"
