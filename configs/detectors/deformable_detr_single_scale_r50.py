"""Deformable DETR on the last map of ResNet-50."""

from .backbones import resnet
from .query_constants import COCO_INPUT, DEFORMABLE_DETR
from .query_parts import deformable_detr

model = deformable_detr(*resnet(50), DEFORMABLE_DETR, extra=0)
input = COCO_INPUT
schedule = "deformable_detr_50e"
