"""DW R50, multi-scale training, 2x; published as 44.8 AP."""

from .dw_parts import MULTI_SCALE, dw_changes

detector = "fcos_r50"
assigner = "dw"
data = "coco"
schedule = "coco_2x"
changes = dw_changes(50, refine=True) | MULTI_SCALE
