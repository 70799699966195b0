"""A split in the numbers that choices follow from: sizes, crowding, overlap, classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...data.statistics import highest_overlaps
from ...data.table import Table

__all__ = ["Facts", "facts_of"]


@dataclass(frozen=True, eq=False)
class Facts:
    """The objects of a split: I images, O objects, C classes.

    Attributes:
        image_sizes: (I, 2) width and height, pixels as stored.
        boxes: (O, 4) xyxy, pixels as stored.
        owners: (O,) image of each.
        labels: (O,) class of each.
        classes: C names.
        overlaps: highest IoU of objects with another one of their class in their image, in no particular order, of a sample
            where there are very many.
    """

    image_sizes: np.ndarray
    boxes: np.ndarray
    owners: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    overlaps: np.ndarray

    @property
    def counts(self) -> np.ndarray:
        """(I,) objects of each image."""
        return np.bincount(self.owners, minlength=len(self.image_sizes))

    @property
    def per_class(self) -> np.ndarray:
        """(C,) objects of each class."""
        return np.bincount(self.labels, minlength=len(self.classes))

    @property
    def longest_side(self) -> float:
        """Of the median image, pixels as stored."""
        return float(np.median(self.image_sizes.max(1))) if len(self.image_sizes) else 0.0

    def factors(self, side: int) -> np.ndarray:
        """(I,) what images are resized by to fit into a square of `side` pixels."""
        return side / self.image_sizes.max(1)

    def shorter_sides(self, side: int) -> np.ndarray:
        """(O,) shorter side of each object in images resized to fit into a square of `side` pixels."""
        return (self.boxes[:, 2:] - self.boxes[:, :2]).min(1) * self.factors(side)[self.owners]

    def lost_to_nms(self, threshold: float) -> float:
        """Share of the objects that overlap another one of their class by more than NMS allows two detections to."""
        return float((self.overlaps > threshold).mean()) if len(self.overlaps) else 0.0


def facts_of(table: Table) -> Facts:
    """Of what is learnt: usable annotations that are no crowd regions."""
    kept = table.objects
    boxes, owners, labels = table.clipped[kept].astype(float), table.owners[kept], table.labels[kept]
    overlaps = highest_overlaps(boxes, owners * max(len(table.classes), 1) + labels) if len(boxes) else np.zeros(0)
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1)
    return Facts(table.image_sizes, corners, owners, labels, tuple(table.classes.values()), overlaps)
