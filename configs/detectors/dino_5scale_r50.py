"""DINO on ResNet-50, five levels."""

from .backbones import resnet
from .query_constants import COCO_INPUT, DINO
from .query_parts import dino

model = dino(*resnet(50, maps=4), DINO)
input = COCO_INPUT
schedule = "detr_12e"
