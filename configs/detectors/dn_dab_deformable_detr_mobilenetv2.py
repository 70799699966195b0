"""DN-DAB-Deformable-DETR on MobileNetV2: 128 channels, three layers, for small data sets."""

from .backbones import mobilenet_v2
from .query_constants import PHOTO_INPUT, SMALL
from .query_parts import DN_MARKED, dab_deformable_detr

model = dab_deformable_detr(*mobilenet_v2(maps=3), SMALL, denoising=DN_MARKED)
input = PHOTO_INPUT
schedule = "finetune_query"
