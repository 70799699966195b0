"""DAB-DETR on ResNet-50 with a dilated last stage, three patterns at each of 300 anchor boxes."""

from .backbones import resnet
from .query_constants import ALONE, COCO_INPUT, DAB_DETR
from .query_parts import dab_detr

model = dab_detr(*resnet(50, dc5=True), DAB_DETR, patterns=3)
input = COCO_INPUT
evaluation = ALONE
schedule = "detr_50e"
