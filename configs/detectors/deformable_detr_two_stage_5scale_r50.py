"""Deformable DETR in two stages on ResNet-50 as DETA has it: five levels, 900 queries, wider and without dropout."""

from dataclasses import replace

from .backbones import resnet
from .query_constants import COCO_INPUT, DEFORMABLE_DETR_PLUS
from .query_parts import deformable_detr

size = replace(DEFORMABLE_DETR_PLUS, queries=900)
model = deformable_detr(*resnet(50, maps=3), size, extra=2, refine=True, two_stage=True)
input = COCO_INPUT
schedule = "deformable_detr_12e"
