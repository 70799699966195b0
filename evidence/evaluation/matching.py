"""Detections beside the objects of a split: which found which, and what overlaps with what."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Matching", "Pairs", "overlapping", "pairs_of", "strongest"]

CHUNK = 2**21  # pairs of boxes compared at a time: some 200 MB


@dataclass(frozen=True, eq=False)
class Matching:
    """D detections and O objects of I images, and the object that each detection found at one IoU.

    A detection finds the object of its class in its image that it overlaps most, if that is enough and no detection of a
    higher score has found it: COCO's rule. Crowd regions are no objects, and detections that they excuse are not here.

    Attributes:
        images: how many there are, I.
        classes: C names.
        object_images, object_labels: (O,) index of the image, of the class.
        object_boxes: (O, 4) x, y, width, height, pixels.
        detection_images, detection_labels, scores: (D,) by falling score.
        detection_boxes: (D, 4) x, y, width, height, pixels.
        found: (D,) index of the object, -1 for none.
    """

    images: int
    classes: tuple[str, ...]
    object_images: np.ndarray
    object_labels: np.ndarray
    object_boxes: np.ndarray
    detection_images: np.ndarray
    detection_labels: np.ndarray
    detection_boxes: np.ndarray
    scores: np.ndarray
    found: np.ndarray

    @property
    def right(self) -> np.ndarray:
        """(D,) whether a detection found an object."""
        return self.found >= 0

    @property
    def object_counts(self) -> np.ndarray:
        """(C,) objects of each class."""
        return np.bincount(self.object_labels, minlength=len(self.classes))

    def above(self, threshold: float) -> Matching:
        """Without detections whose score is below a threshold; what the others found stays the same."""
        return self.only(self.scores >= threshold)

    def only(self, kept: np.ndarray) -> Matching:
        """With some of the detections alone. kept: (D,) bool, true for the first so many of a class."""
        columns = ("detection_images", "detection_labels", "detection_boxes", "scores", "found")
        return Matching(**{**vars(self), **{name: getattr(self, name)[kept] for name in columns}})


@dataclass(frozen=True, eq=False)
class Pairs:
    """P pairs of a detection and an object in the same image."""

    detections: np.ndarray  # (P,)
    objects: np.ndarray  # (P,)
    overlaps: np.ndarray  # (P,) IoU

    def only(self, kept: np.ndarray) -> Pairs:
        """Some of them. kept: (P,) bool or indices."""
        return Pairs(self.detections[kept], self.objects[kept], self.overlaps[kept])


def overlapping(matching: Matching, least: float) -> Pairs:
    """All pairs, of whatever classes, whose IoU is at least so much."""
    detections = matching.detection_images, matching.detection_boxes
    return pairs_of(detections, (matching.object_images, matching.object_boxes), matching.images, least)


def pairs_of(
    detections: tuple[np.ndarray, np.ndarray],
    objects: tuple[np.ndarray, np.ndarray],
    images: int,
    least: float,
    crowd: bool = False,
) -> Pairs:
    """Pairs of boxes in the same image that overlap by at least so much; memory grows with their number alone.

    Args:
        detections: index of the image (D,), boxes (D, 4) x, y, width, height.
        objects: the same (O,), (O, 4).
        images: how many there are.
        least: an IoU above 0.
        crowd: take the share of the detection that lies in the object instead.
    """
    order = np.argsort(objects[0], kind="stable")
    counts = np.bincount(objects[0], minlength=images)
    starts = np.concatenate([[0], counts.cumsum()])[:-1]
    beside = counts[detections[0]]  # (D,) objects in the same image
    pieces = [(np.zeros(0, int), np.zeros(0, int), np.zeros(0))]
    for rows in _chunks(beside):
        own = np.repeat(rows, beside[rows])
        within = np.arange(len(own)) - np.repeat(beside[rows].cumsum() - beside[rows], beside[rows])
        other = order[starts[detections[0][own]] + within]
        overlaps = _overlaps(detections[1][own], objects[1][other], crowd)
        kept = overlaps >= least
        pieces.append((own[kept], other[kept], overlaps[kept]))
    return Pairs(*map(np.concatenate, zip(*pieces, strict=True)))


def strongest(pairs: Pairs, detections: int) -> tuple[np.ndarray, np.ndarray]:
    """Of each of D detections the object that it overlaps most, -1 for none, and the IoU, 0 for none; the first of equals."""
    order = np.lexsort((pairs.objects, -pairs.overlaps, pairs.detections))
    whose, first = np.unique(pairs.detections[order], return_index=True)
    objects, overlaps = np.full(detections, -1), np.zeros(detections)
    objects[whose], overlaps[whose] = pairs.objects[order][first], pairs.overlaps[order][first]
    return objects, overlaps


def _chunks(beside: np.ndarray) -> list[np.ndarray]:
    """Indices of detections in pieces of about CHUNK pairs."""
    ends = np.flatnonzero(np.diff(beside.cumsum() // CHUNK)) + 1
    return [rows for rows in np.split(np.arange(len(beside)), ends) if len(rows)]


def _overlaps(one: np.ndarray, other: np.ndarray, crowd: bool) -> np.ndarray:
    """(P,) of boxes x, y, width, height, in the arithmetic of pycocotools; 0 where there is nothing to share."""
    low = np.maximum(one[:, :2], other[:, :2])
    sides = np.minimum(one[:, :2] + one[:, 2:], other[:, :2] + other[:, 2:]) - low
    shared, area = np.where((sides > 0).all(1), sides[:, 0] * sides[:, 1], 0.0), one[:, 2] * one[:, 3]
    union = area if crowd else area + other[:, 2] * other[:, 3] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
