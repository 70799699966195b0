"""Deformable DETR on MobileNetV2: 128 channels, three layers, for small data sets."""

from .backbones import mobilenet_v2
from .query_constants import PHOTO_INPUT, SMALL
from .query_parts import deformable_detr

model = deformable_detr(*mobilenet_v2(maps=3), SMALL)
input = PHOTO_INPUT
schedule = "finetune_query"
