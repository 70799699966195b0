"""What was detected in many images, as columns and as COCO's result entries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Detected"]


class Detected(NamedTuple):
    """D detections.

    Attributes:
        image_ids: (D,) as the annotations number images.
        labels: (D,) places among the classes.
        boxes: (D, 4) x, y, width, height, pixels, float64.
        scores: (D,) float64.
    """

    image_ids: np.ndarray
    labels: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray

    @classmethod
    def in_image(cls, image_id: int, found: Any) -> Detected:
        """Those of one image, of "bboxes" (K, 4) xyxy, "scores" (K,) and "labels" (K,)."""
        labels, scores = found["labels"].cpu().numpy(), found["scores"].cpu().double().numpy()
        corners = found["bboxes"].cpu().double().numpy()
        boxes = np.hstack([corners[:, :2], corners[:, 2:] - corners[:, :2]])
        return cls(np.full(len(labels), image_id), labels, boxes, scores)

    @classmethod
    def joined(cls, parts: Iterable[Detected]) -> Detected:
        """All of several, in their order."""
        nothing = cls(np.empty(0, int), np.empty(0, int), np.empty((0, 4)), np.empty(0))
        return cls(*(np.concatenate(column) for column in zip(nothing, *parts, strict=True)))

    @classmethod
    def read(cls, entries: Sequence[dict[str, Any]], category_ids: Iterable[int]) -> Detected:
        """Of COCO result entries; `category_ids` of the labels, in order."""
        label = {number: place for place, number in enumerate(category_ids)}
        return cls(
            np.array([one["image_id"] for one in entries], int),
            np.array([label[one["category_id"]] for one in entries], int),
            np.array([one["bbox"] for one in entries], float).reshape(-1, 4),
            np.array([one["score"] for one in entries], float),
        )

    def entries(self, category_ids: Sequence[int]) -> list[dict[str, Any]]:
        """COCO result entries; `category_ids` of the labels, in order."""
        rows = zip(*(column.tolist() for column in self), strict=True)
        return [
            {"image_id": image, "category_id": category_ids[label], "bbox": box, "score": score}
            for image, label, box, score in rows
        ]
