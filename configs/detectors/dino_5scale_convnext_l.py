"""DINO on ConvNeXt-L, five levels."""

from .backbones import convnext_l
from .query_constants import COCO_INPUT, DINO
from .query_parts import dino

model = dino(*convnext_l(maps=4), DINO)
input = COCO_INPUT
schedule = "detr_12e"
