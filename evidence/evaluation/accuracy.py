"""COCO's averages of precision and recall, over all or of a class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["AVERAGE_PRECISIONS", "AVERAGE_RECALLS", "IOUS", "RECALLS", "Accuracy"]

IOUS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)  # where COCO reads off precision
AVERAGE_PRECISIONS = ("AP", "AP50", "AP75", "APs", "APm", "APl")
AVERAGE_RECALLS = ("AR", "ARs", "ARm", "ARl")
PLACES = {"AP50": 0, "AP75": 5}  # of IoUs


@dataclass(frozen=True, eq=False)
class Accuracy:
    """What COCO's evaluation accumulates; -1 stands for classes without objects of a size.

    Attributes:
        precision: (10, 101, C, 4) at every IoU and recall, of every class and size: all, small, medium, large.
        recall: (10, C, 4, L) at every IoU, of every class and size, at every limit.
        limits: (L,) detections per image that count, rising; precision is at the last.
    """

    precision: np.ndarray
    recall: np.ndarray
    limits: tuple[int, ...]

    def average_precisions(self, label: int | None = None) -> dict[str, float]:
        """AVERAGE_PRECISIONS in [0, 1], of a class or the mean over classes; NaN where there is no object."""
        precision = self.precision[:, :, _chosen(label)]
        at_iou = {name: _mean(precision[place, ..., 0]) for name, place in PLACES.items()}
        return {"AP": _mean(precision[..., 0]), **at_iou, **_by_size("AP", precision)}

    def average_recalls(self, label: int | None = None) -> dict[str, float]:
        """AVERAGE_RECALLS at the last limit in [0, 1], the means over IoUs; AR1 and AR10 where these are limits."""
        recall = self.recall[:, _chosen(label)]
        at_limit = {f"AR{limit}": _mean(recall[..., 0, place]) for place, limit in enumerate(self.limits[:-1])}
        return {**at_limit, "AR": _mean(recall[..., 0, -1]), **_by_size("AR", recall[..., -1])}

    def precision_at_recalls(self, iou: float | None = None, label: int | None = None) -> np.ndarray:
        """(101,) precision at RECALLS, at one of IOUS or the mean over them; of a class or the mean; NaN without objects."""
        places = slice(None) if iou is None else [int(np.abs(IOUS - iou).argmin())]
        precision = self.precision[places][:, :, _chosen(label), 0]  # (IoUs, 101, classes)
        present = precision[:, :, (precision > -1).all((0, 1))]
        return present.mean((0, 2)) if present.size else np.full(len(RECALLS), np.nan)


def _chosen(label: int | None) -> slice:
    return slice(None) if label is None else slice(label, label + 1)


def _by_size(name: str, values: np.ndarray) -> dict[str, float]:
    """Of small, medium and large objects; values: (..., 4)."""
    return {f"{name}{size}": _mean(values[..., place]) for place, size in enumerate("sml", 1)}


def _mean(values: np.ndarray) -> float:
    present = values[values > -1]
    return float(present.mean()) if present.size else float("nan")
