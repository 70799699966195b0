"""DINO on ConvNeXt-XL, four levels."""

from .backbones import convnext
from .query_constants import COCO_INPUT, DINO
from .query_parts import dino

model = dino(*convnext("xlarge", maps=3), DINO)
input = COCO_INPUT
schedule = "detr_12e"
