"""Deformable DETR with box refinement and two stages on ResNet-50."""

from .backbones import resnet
from .query_constants import COCO_INPUT, DEFORMABLE_DETR
from .query_parts import deformable_detr

model = deformable_detr(*resnet(50, maps=3), DEFORMABLE_DETR, refine=True, two_stage=True)
input = COCO_INPUT
schedule = "deformable_detr_50e"
