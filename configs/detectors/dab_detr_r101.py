"""DAB-DETR on ResNet-101, 300 anchor boxes."""

from .backbones import resnet
from .query_constants import COCO_INPUT, DAB_DETR
from .query_parts import dab_detr

model = dab_detr(*resnet(101), DAB_DETR)
input = COCO_INPUT
schedule = "detr_50e"
