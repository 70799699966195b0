"""Precision, recall and F1 over the score, the score that is best for F1, and average precision."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .accuracy import RECALLS
from .matching import Matching

__all__ = ["Best", "Curve", "average_precision", "best", "curve", "mean_average_precision", "of_class"]


class Curve(NamedTuple):
    """What is measured when detections of at least a score count, for K scores, falling; each stands once."""

    scores: np.ndarray  # (K,)
    precision: np.ndarray  # (K,)
    recall: np.ndarray  # (K,) NaN without an object
    f1: np.ndarray  # (K,)

    def at(self, thresholds: np.ndarray) -> Curve:
        """The same at other thresholds; where no detection is left, precision is NaN and the others 0."""
        place = np.searchsorted(-self.scores, -np.asarray(thresholds, float), side="right")
        padded = (np.concatenate([[none], values]) for none, values in zip((np.nan, 0, 0), self[1:], strict=True))
        return Curve(np.asarray(thresholds, float), *(values[place] for values in padded))


class Best(NamedTuple):
    """The threshold of the highest F1, and what it gives.

    The threshold lies half-way between the last score that counts and the next, so that none is equal to it; where there is no
    next, half-way to 0.
    """

    threshold: float
    precision: float
    recall: float
    f1: float


def curve(scores: np.ndarray, right: np.ndarray, objects: int) -> Curve:
    """Of detections, scores (D,) falling and whether they are right (D,), of so many objects.

    >>> curve(np.array([0.9, 0.8, 0.8]), np.array([True, False, True]), 4).precision.tolist()
    [1.0, 0.6666666666666666]
    """
    last = np.flatnonzero(np.diff(scores, append=-np.inf))  # of equal scores
    found, counted = np.cumsum(right)[last], last + 1.0
    recall = found / objects if objects else np.full(len(last), np.nan)
    return Curve(scores[last], found / counted, recall, 2 * found / (counted + objects))


def best(of: Curve) -> Best | None:
    """The best threshold, the highest of equals; None without a right detection."""
    if not len(of.f1) or not of.f1.max() > 0:
        return None
    place = int(of.f1.argmax())
    score = float(of.scores[place])
    below = float(of.scores[place + 1]) if place + 1 < len(of.scores) else min(0.0, score) - (score <= 0)
    return Best((score + below) / 2, float(of.precision[place]), float(of.recall[place]), float(of.f1[place]))


def of_class(matching: Matching, label: int | None = None) -> Curve:
    """The curve of a class, or of all classes at one threshold."""
    if label is None:
        return curve(matching.scores, matching.right, len(matching.object_labels))
    own = matching.detection_labels == label
    return curve(matching.scores[own], matching.right[own], int(matching.object_counts[label]))


def average_precision(right: np.ndarray, objects: int) -> float:
    """COCO's, of detections by falling score: precision made to fall, read off at 101 recalls.

    >>> round(average_precision(np.array([True, False, True]), 2), 4)
    0.835
    """
    found = np.cumsum(right)
    precision = found / np.arange(1, len(right) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(found / objects, RECALLS, side="left")
    return float(np.append(precision, 0.0)[places].mean())


def mean_average_precision(scores: np.ndarray, right: np.ndarray, labels: np.ndarray, objects: np.ndarray) -> float:
    """The mean over classes that have objects, (C,) counts, of detections in any order; NaN without any."""
    order = np.lexsort((-scores, labels))
    ends = np.searchsorted(labels[order], np.arange(len(objects) + 1))
    by_label = [right[order[ends[label] : ends[label + 1]]] for label in range(len(objects))]
    values = [average_precision(own, count) for own, count in zip(by_label, objects.tolist(), strict=True) if count > 0]
    return float(np.mean(values)) if values else float("nan")
