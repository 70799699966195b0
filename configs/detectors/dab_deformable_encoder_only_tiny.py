"""CPU-sized DAB-DETR with a deformable encoder: three levels, 60 anchors."""

from .query_parts import dab_deformable_encoder_only
from .tiny_parts import INPUT, MAPS, SCHEDULE_DENSE, SMALL, TINY

model = dab_deformable_encoder_only(SMALL, MAPS, TINY, extra=0)
input = INPUT
schedule = SCHEDULE_DENSE
