"""POTO over a branch behind 3D max filtering, without NMS; for any FCOS-like detector (--detector) and data set (--data)."""

assigner = "poto_filter"
changes = {"model.head.branch_tower": "max_filter"}
