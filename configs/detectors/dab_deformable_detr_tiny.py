"""CPU-sized DAB-Deformable-DETR: three levels, 60 anchors."""

from .query_parts import dab_deformable_detr
from .tiny_parts import INPUT, MAPS, SCHEDULE, SMALL, TINY

model = dab_deformable_detr(SMALL, MAPS, TINY, extra=0)
input = INPUT
schedule = SCHEDULE
