"""The YOLO family from YOLOv8 on: task-aligned matching x binary cross entropy with aligned targets.

Two things differ from the code of all of them: sums of targets are averaged over ranks, where the original divides each
rank's losses by its own; and losses are not multiplied by the batch size.
"""

from __future__ import annotations

from typing import Any, Literal

from ..assigner import Assigner
from ..matching import TaskAligned
from ..registry import ASSIGNERS
from ..scores import Sigmoid
from ..weighting import aligned_bce

BOXES = {"box": {"type": "ciou", "weight": 7.5}, "dfl": {"weight": 1.5, "eps": 0.01}}
"""Complete IoU and the distribution of distances (16 bins), with their weights."""


@ASSIGNERS.register("tal_v8")
def tal_v8(
    num_classes: int,
    k: int = 10,
    keep: int | None = None,
    min_side: float = 0.0,
    conflict: Literal["holders", "all"] = "all",
    best_of: Literal["inside", "all", "filled"] = "inside",
    box_loss: Any = BOXES,
) -> Assigner:
    """YOLOv8 and YOLO11: each object's 10 samples inside its box of largest P^0.5 CIoU^6.

    The original fills an object's empty places with pairs without alignment (`best_of="filled"`): positives with target 0,
    which learn nothing but may win a sample that several objects want.

    Args:
        num_classes: C.
        k, keep, min_side, conflict, best_of: as of `TaskAligned`.
        box_loss: as of `Assigner`; "ciou" alone where a head has no distribution of distances (queries).
    """
    matching = TaskAligned(k, 0.5, 6.0, "ciou", best_of, conflict, keep, margin=1e-9, min_side=min_side)
    return Assigner(matching, aligned_bce(box_scale=1.0), Sigmoid(), box_loss, num_classes)


@ASSIGNERS.register("tal_v84")
def tal_v84(
    num_classes: int,
    k: int = 10,
    keep: int | None = None,
    min_side: float = 16.0,
    conflict: Literal["holders", "all"] = "all",
    best_of: Literal["inside", "all", "filled"] = "inside",
    box_loss: Any = BOXES,
) -> Assigner:
    """Ultralytics 8.4: as `tal_v8`, but sides below 16 pixels, the second stride, count as so long for the inside test."""
    return tal_v8(num_classes, k, keep, min_side, conflict, best_of, box_loss)
