"""CPU-sized Deformable DETR: three levels, 60 queries."""

from .query_parts import deformable_detr
from .tiny_parts import INPUT, MAPS, SCHEDULE, SMALL, TINY

model = deformable_detr(SMALL, MAPS, TINY, extra=0)
input = INPUT
schedule = SCHEDULE
