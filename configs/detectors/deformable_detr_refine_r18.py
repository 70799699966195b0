"""Deformable DETR with box refinement on ResNet-18: 128 channels, three layers, for small data sets."""

from .backbones import resnet
from .query_constants import SMALL, SMALL_INPUT
from .query_parts import deformable_detr

model = deformable_detr(*resnet(18, maps=3), SMALL, refine=True)
input = SMALL_INPUT
schedule = "finetune_query"
