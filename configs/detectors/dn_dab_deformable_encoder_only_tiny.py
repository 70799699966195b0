"""CPU-sized DN-DETR with a deformable encoder: three levels, 60 anchors."""

from .query_parts import DN_LABELS, dab_deformable_encoder_only
from .tiny_parts import INPUT, MAPS, SCHEDULE_DENSE, SMALL, TINY

model = dab_deformable_encoder_only(SMALL, MAPS, TINY, extra=0, denoising=DN_LABELS)
input = INPUT
schedule = SCHEDULE_DENSE
