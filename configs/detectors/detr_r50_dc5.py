"""DETR on ResNet-50 with a dilated last stage, 100 queries."""

from .backbones import resnet
from .query_constants import ALONE, COCO_INPUT, DETR
from .query_parts import detr

model = detr(*resnet(50, dc5=True), DETR)
input = COCO_INPUT
evaluation = ALONE
schedule = "detr_500e"
