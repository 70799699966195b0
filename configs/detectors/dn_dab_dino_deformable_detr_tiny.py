"""CPU-sized two-stage contrastive DN-DETR: three levels, 60 queries."""

from .query_parts import dn_dab_dino_deformable_detr
from .tiny_parts import INPUT, MAPS, SCHEDULE, SMALL, TINY

model = dn_dab_dino_deformable_detr(SMALL, MAPS, TINY, extra=0)
input = INPUT
schedule = SCHEDULE
