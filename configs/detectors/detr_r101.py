"""DETR on ResNet-101, 100 queries."""

from .backbones import resnet
from .query_constants import COCO_INPUT, DETR
from .query_parts import detr

model = detr(*resnet(101), DETR)
input = COCO_INPUT
schedule = "detr_500e"
