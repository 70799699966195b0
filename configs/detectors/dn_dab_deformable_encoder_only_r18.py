"""DN-DETR with a deformable encoder on ResNet-18: 128 channels, three layers, for small data sets."""

from .backbones import resnet
from .query_constants import SMALL, SMALL_INPUT
from .query_parts import DN_LABELS, dab_deformable_encoder_only

model = dab_deformable_encoder_only(*resnet(18, maps=3), SMALL, denoising=DN_LABELS)
input = SMALL_INPUT
schedule = "finetune_query"
