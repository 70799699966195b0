"""DINO on ConvNeXt-L, four levels."""

from .backbones import convnext
from .query_constants import COCO_INPUT, DINO
from .query_parts import dino

model = dino(*convnext("large", maps=3), DINO)
input = COCO_INPUT
schedule = "detr_12e"
