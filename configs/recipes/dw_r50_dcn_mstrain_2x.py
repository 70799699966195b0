"""DW R50 with deformable convolutions in c3-c5 and the towers, multi-scale training, 2x; published as 47.9 AP."""

from .dw_parts import DCN, MULTI_SCALE, dw_changes

detector = "fcos_r50"
assigner = "dw"
data = "coco"
schedule = "coco_2x"
changes = dw_changes(50, refine=True) | MULTI_SCALE | DCN
