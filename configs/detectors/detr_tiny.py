"""CPU-sized DETR: one map of stride 16, 60 queries."""

from .query_parts import detr
from .tiny_parts import INPUT, MAP_16, SCHEDULE, STRIDE_16, TINY

model = detr(STRIDE_16, MAP_16, TINY)
input = INPUT
schedule = SCHEDULE
