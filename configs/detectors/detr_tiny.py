"""CPU-sized DETR: one map of stride 16, 60 queries."""

from .query_parts import detr
from .tiny_parts import INPUT, MAP_16, SCHEDULE_LONG, STRIDE_16, TINY_DENSE

model = detr(STRIDE_16, MAP_16, TINY_DENSE)
input = INPUT
schedule = SCHEDULE_LONG
