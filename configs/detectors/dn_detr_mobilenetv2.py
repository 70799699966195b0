"""DN-DETR on MobileNetV2: 128 channels, three layers, for small data sets."""

from .backbones import mobilenet_v2
from .query_constants import PHOTO_INPUT, SMALL
from .query_parts import DN_LABELS, dab_detr

model = dab_detr(*mobilenet_v2(), SMALL, denoising=DN_LABELS)
input = PHOTO_INPUT
schedule = "finetune_query"
