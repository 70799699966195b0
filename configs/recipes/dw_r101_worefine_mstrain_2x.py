"""DW R101 without refinement, multi-scale training, 2x; published as 46.1 AP."""

from .dw_parts import MULTI_SCALE, dw_changes

detector = "fcos_r101"
assigner = "dw"
data = "coco"
schedule = "coco_2x"
changes = dw_changes(101, refine=False) | MULTI_SCALE
