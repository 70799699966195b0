"""Deformable DETR++: two stages with mixed selection, look forward twice, wider and without dropout, on ResNet-50."""

from .backbones import resnet
from .query_constants import COCO_INPUT, DEFORMABLE_DETR_PLUS
from .query_parts import deformable_detr

model = deformable_detr(*resnet(50, maps=3), DEFORMABLE_DETR_PLUS, refine=True, two_stage=True, mixed=True)
input = COCO_INPUT
schedule = "deformable_detr_12e"
