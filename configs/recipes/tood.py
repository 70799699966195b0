"""TOOD's assigner on TOOD's tower, one for both tasks; for any FCOS-like detector (--detector) and data set (--data)."""

assigner = "tood"
changes = {"model.head.task_aligned": {}}
