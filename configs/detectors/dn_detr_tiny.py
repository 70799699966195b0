"""CPU-sized DN-DETR: one map of stride 16, 60 anchors."""

from .query_parts import DN_LABELS, dab_detr
from .tiny_parts import INPUT, MAP_16, SCHEDULE_DENSE, STRIDE_16, TINY_DENSE

model = dab_detr(STRIDE_16, MAP_16, TINY_DENSE, denoising=DN_LABELS)
input = INPUT
schedule = SCHEDULE_DENSE
