"""Deformable DETR on the last map of ResNet-50, dilated."""

from .backbones import resnet
from .query_constants import ALONE, COCO_INPUT, DEFORMABLE_DETR
from .query_parts import deformable_detr

model = deformable_detr(*resnet(50, dc5=True), DEFORMABLE_DETR, extra=0)
input = COCO_INPUT
evaluation = ALONE
schedule = "deformable_detr_50e"
