"""CPU-sized DINO: three levels, 60 queries."""

from .query_parts import dino
from .tiny_parts import INPUT, MAPS, SCHEDULE, SMALL, TINY

model = dino(SMALL, MAPS, TINY, extra=0)
input = INPUT
schedule = SCHEDULE
