"""One-to-few with a branch tower of its own, without NMS; for any FCOS-like detector (--detector) and data set (--data)."""

assigner = "o2f"
changes = {"model.head.branch_tower": {"type": "convolutions", "width": 64, "depth": 3}}
