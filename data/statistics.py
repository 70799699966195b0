"""Numbers that describe a split: how many objects, of which size and class, how crowded."""

from __future__ import annotations

from typing import Any

import numpy as np

from .table import Table

__all__ = ["highest_overlaps", "split_statistics"]

SIZE_LIMITS = (32**2, 96**2)  # COCO's small, medium, large: pixels of area
_THRESHOLDS = (0.0, 0.3, 0.5, 0.7)
_OVERLAP_IMAGES, _OVERLAP_BOXES = 5000, 500  # images looked at, and boxes of each, for the overlaps


def split_statistics(table: Table) -> dict[str, Any]:
    """Statistics of the objects of a table, as plain values.

    Overlaps are measured on at most 5000 images spread evenly and the first 500 boxes of each.
    """
    kept = table.objects
    counts = np.bincount(table.owners[kept], minlength=len(table.image_ids))
    small, medium, large = np.bincount(np.digitize(table.areas[kept], SIZE_LIMITS), minlength=3).tolist()
    overlaps = highest_overlaps(table.clipped[kept], table.owners[kept])
    by_class = np.bincount(table.labels[kept], minlength=len(table.classes)).tolist()
    return {
        "images": len(counts),
        "images_without_boxes": int((counts == 0).sum()),
        "boxes": int(kept.sum()),
        "boxes_per_image": float(counts.mean()) if len(counts) else 0.0,
        "most_boxes_in_an_image": int(counts.max(initial=0)),
        "sizes": {"small": small, "medium": medium, "large": large},
        "classes": dict(zip(table.classes.values(), by_class, strict=True)),
        "mean_highest_iou": float(overlaps.mean()) if len(overlaps) else 0.0,
        "overlap_share": {f"{t:g}": float((overlaps > t).mean()) if len(overlaps) else 0.0 for t in _THRESHOLDS},
    }


def highest_overlaps(boxes: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """Highest IoU of each box with another one of its image, in no particular order.

    boxes: (A, 4) x, y, width, height, pixels; owners: (A,) image of each. Bounded as `split_statistics` says.

    >>> highest_overlaps(np.array([[0, 0, 2, 2], [1, 0, 2, 2], [0, 0, 2, 2]]), np.array([0, 0, 1])).round(3).tolist()
    [0.333, 0.333, 0.0]
    """
    order = np.argsort(owners, kind="stable")
    _, starts = np.unique(owners[order], return_index=True)
    groups = np.split(order, starts[1:])
    chosen = np.unique(np.linspace(0, len(groups) - 1, _OVERLAP_IMAGES).astype(int))
    return np.concatenate([_highest_of_image(boxes[groups[i][:_OVERLAP_BOXES]].astype(float)) for i in chosen])


def _highest_of_image(boxes: np.ndarray) -> np.ndarray:
    """(M, 4) x, y, width, height -> (M,) highest IoU with another box."""
    low, high = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
    common = np.minimum(high[:, None], high) - np.maximum(low[:, None], low)  # (M, M, 2)
    intersection = common.clip(0).prod(-1)
    area = boxes[:, 2:].prod(-1)
    iou = intersection / (area[:, None] + area - intersection)
    np.fill_diagonal(iou, 0)
    return iou.max(1, initial=0)
