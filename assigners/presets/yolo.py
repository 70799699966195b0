"""The YOLO family from YOLOv8 on: task-aligned matching x binary cross entropy with aligned targets.

YOLOv10 and YOLO26 have two heads: one with many samples per object trains the features, one with one per object detects.

Two things differ from the code of all of them: sums of targets are averaged over ranks, where the original divides each
rank's losses by its own; and losses are not multiplied by the batch size.
"""

from __future__ import annotations

from typing import Any

from ..assigner import Assigner
from ..matching import TaskAligned
from ..matching.pairs import Claimants
from ..matching.task_aligned import BestOf
from ..registry import ASSIGNERS
from ..scores import Sigmoid
from ..two_headed import TwoHeaded
from ..weighting import aligned_bce

BOXES = {"box": {"type": "ciou", "weight": 7.5}, "dfl": {"weight": 1.5, "eps": 0.01, "bins": 16}}
"""Complete IoU and the distribution of distances (16 bins), with their weights."""

SIDES = {"box": {"type": "ciou", "weight": 7.5}, "l1": {"type": "relative_sides", "weight": 1.5}}
"""YOLO26 predicts plain distances."""


@ASSIGNERS.register("tal_v8")
def tal_v8(
    num_classes: int,
    k: int = 10,
    keep: int | None = None,
    min_side: float = 0.0,
    conflict: Claimants = "all",
    best_of: BestOf = "inside",
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
    conflict: Claimants = "all",
    best_of: BestOf = "inside",
    box_loss: Any = BOXES,
) -> Assigner:
    """Ultralytics 8.4: as `tal_v8`, but sides below 16 pixels, the second stride, count as so long for the inside test."""
    return tal_v8(num_classes, k, keep, min_side, conflict, best_of, box_loss)


@ASSIGNERS.register("yolov10")
def yolov10(
    num_classes: int,
    k: int = 10,
    keep: int | None = 1,
    min_side: float = 0.0,
    conflict: Claimants = "all",
    best_of: BestOf = "inside",
    box_loss: Any = BOXES,
) -> TwoHeaded:
    """YOLOv10 (arXiv 2405.14458): `tal_v8` for one head, the single best sample for the other, which detects without NMS.

    In the original an object may be handed a second sample, one that two others contest (`keep=None`); here it keeps the
    better one. An object that loses its only sample has none in both.

    Args:
        num_classes: C.
        k: samples per object of the one-to-many head.
        keep: as of `TaskAligned`, of the one-to-one head.
        min_side, conflict, best_of, box_loss: as of `tal_v8`, of both.
    """
    common = {"min_side": min_side, "conflict": conflict, "best_of": best_of, "box_loss": box_loss}
    return TwoHeaded(tal_v8(num_classes, k=1, keep=keep, **common), tal_v8(num_classes, k=k, **common))


@ASSIGNERS.register("yolo26")
def yolo26(
    num_classes: int,
    k: int = 10,
    candidates: int = 7,
    min_side: float = 16.0,
    conflict: Claimants = "all",
    best_of: BestOf = "inside",
    box_loss: Any = SIDES,
) -> TwoHeaded:
    """YOLO26 (arXiv 2606.03748): as `yolov10`, but of 7 samples an object keeps the best that conflicts leave it.

    Small sides are enlarged (STAL), distances are plain, and the weight of the loss moves from the one-to-many head to the
    other, 0.8 to 0.1 against 0.2 to 0.9 (ProgLoss): evenly with every step here, epoch by epoch in the original, which is
    done when the last epoch begins.

    Args:
        num_classes: C.
        k: samples per object of the one-to-many head.
        candidates: samples per object of the one-to-one head before conflicts are settled.
        min_side, conflict, best_of, box_loss: as of `tal_v8`, of both.
    """
    common = {"min_side": min_side, "conflict": conflict, "best_of": best_of, "box_loss": box_loss}
    one, many = tal_v8(num_classes, k=candidates, keep=1, **common), tal_v8(num_classes, k=k, **common)
    return TwoHeaded(one, many, weights=(0.2, 0.8), final_weights=(0.9, 0.1))
