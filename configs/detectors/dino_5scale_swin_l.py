"""DINO on Swin-L, five levels."""

from .backbones import swin_l
from .query_constants import COCO_INPUT, DINO
from .query_parts import dino

model = dino(*swin_l(maps=4), DINO)
input = COCO_INPUT
schedule = "detr_12e"
