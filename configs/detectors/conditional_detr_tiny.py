"""CPU-sized Conditional DETR: one map of stride 16, 60 queries."""

from .query_parts import conditional_detr
from .tiny_parts import INPUT, MAP_16, SCHEDULE_DENSE, STRIDE_16, TINY_DENSE

model = conditional_detr(STRIDE_16, MAP_16, TINY_DENSE)
input = INPUT
schedule = SCHEDULE_DENSE
