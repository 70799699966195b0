"""DW R50, 1x; published as 42.1 AP."""

from .dw_parts import dw_changes

detector = "fcos_r50"
assigner = "dw"
data = "coco"
schedule = "coco_1x"
changes = dw_changes(50, refine=True)
