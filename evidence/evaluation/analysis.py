"""Everything that a report of an evaluation tells, computed from what was matched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .accuracy import RECALLS, Accuracy
from .confusion import confusion
from .curves import Best, Curve, best, of_class
from .errors import NEAR, Costs, Errors, costs, errors
from .matching import Matching, overlapping

__all__ = ["OVERLAP", "Analysis", "Image", "analyse", "document"]

OVERLAP = 0.5  # IoU at which detections are right or wrong: of everything but AP and AR
STEPS = 101  # thresholds at which curves are told
ORDER = ("precision", "recall", "F1")


class Image(NamedTuple):
    """How many detections of an image are right and wrong at the best threshold, and how many objects are not found."""

    index: int
    right: int
    wrong: int
    missed: int


@dataclass(frozen=True, eq=False)
class Analysis:
    """What is right and wrong with detections of a split.

    Attributes:
        matching: at OVERLAP.
        accuracy: COCO's averages.
        curves: precision, recall and F1 over the score: of all classes together, then (C) of each.
        bests: in the same order, the threshold of the highest F1.
        confusion: (C + 1, C + 1) counts at the best threshold of all; rows are the truth, the last is background.
        errors: of all detections, whatever their score.
        costs: of the kinds of errors, in AP at OVERLAP.
        worst: images with mistakes, those with the most first.
    """

    matching: Matching
    accuracy: Accuracy
    curves: tuple[Curve, ...]
    bests: tuple[Best | None, ...]
    confusion: np.ndarray
    errors: Errors
    costs: Costs
    worst: tuple[Image, ...]

    @property
    def threshold(self) -> float:
        """The best of all classes; 0.5 where nothing is right."""
        return self.bests[0].threshold if self.bests[0] else 0.5


def analyse(matching: Matching, accuracy: Accuracy) -> Analysis:
    """Compute all of it.

    Args:
        matching: at OVERLAP.
        accuracy: of the same detections.
    """
    pairs = overlapping(matching, NEAR)
    labels = (None, *range(len(matching.classes)))
    curves = tuple(of_class(matching, label) for label in labels)
    bests = tuple(map(best, curves))
    threshold = bests[0].threshold if bests[0] else 0.5
    sorted_out = errors(matching, pairs, OVERLAP)
    table = confusion(matching, pairs, threshold, OVERLAP)
    worst = _worst(matching.above(threshold))
    return Analysis(matching, accuracy, curves, bests, table, sorted_out, costs(matching, sorted_out), worst)


def document(analysis: Analysis) -> dict[str, Any]:
    """The numbers as JSON holds them; averages, precision, recall and F1 in [0, 1]."""
    matching, counts = analysis.matching, analysis.matching.object_counts.tolist()
    detections = np.bincount(matching.detection_labels, minlength=len(counts)).tolist()
    classes = {
        name: {
            "objects": counts[label],
            "detections": detections[label],
            **_averages(analysis.accuracy, label),
            "best": _best(analysis.bests[label + 1]),
        }
        for label, name in enumerate(matching.classes)
    }
    return {
        "images": matching.images,
        "objects": sum(counts),
        "detections": sum(detections),
        **_averages(analysis.accuracy),
        "best": _best(analysis.bests[0]),
        "classes": classes,
        "errors": _errors(analysis),
        "confusion": {"threshold": analysis.threshold, "IoU": OVERLAP, "counts": analysis.confusion.tolist()},
        "curves": _curves(analysis),
    }


def _averages(accuracy: Accuracy, label: int | None = None) -> dict[str, float]:
    return {**accuracy.average_precisions(label), **accuracy.average_recalls(label)}


def _best(found: Best | None) -> dict[str, float] | None:
    return found and {"threshold": found.threshold, **dict(zip(ORDER, found[1:], strict=True)), "IoU": OVERLAP}


def _errors(analysis: Analysis) -> dict[str, Any]:
    told, counts = analysis.costs, analysis.errors.counts
    kinds = {name: {"count": counts[name], "AP50": cost} for name, cost in told.kinds.items()}
    return {
        **kinds,
        "false positives": {"AP50": told.false_positives},
        "false negatives": {"AP50": told.false_negatives},
    }


def _curves(analysis: Analysis) -> dict[str, Any]:
    """Of all classes and of each, over the score and over recall, in six digits."""
    scores = analysis.matching.scores
    grid = np.linspace(min(0.0, scores.min(initial=0)), max(1.0, scores.max(initial=0)), STEPS)
    names: Mapping[int, str | None] = dict(enumerate((None, *analysis.matching.classes)))

    def one(place: int) -> dict[str, list[float]]:
        label = place - 1 if place else None
        over_score = dict(zip(ORDER, analysis.curves[place].at(grid)[1:], strict=True))
        at_recall = {"precision at recall": analysis.accuracy.precision_at_recalls(OVERLAP, label)}
        return {name: np.round(values, 6).tolist() for name, values in (over_score | at_recall).items()}

    of_classes = {name: one(place) for place, name in names.items() if name is not None}
    return {"scores": grid.tolist(), "recalls": RECALLS.tolist(), "all": one(0), "classes": of_classes}


def _worst(matching: Matching) -> tuple[Image, ...]:
    """Images by the number of wrong detections and missed objects, of equals those with less that is right first."""
    right, wrong = (
        np.bincount(matching.detection_images[mask], minlength=matching.images)
        for mask in (matching.right, ~matching.right)
    )
    missed = np.bincount(matching.object_images, minlength=matching.images) - right
    order = np.lexsort((right, -(wrong + missed)))
    rows = zip(order.tolist(), right[order].tolist(), wrong[order].tolist(), missed[order].tolist(), strict=True)
    return tuple(Image(*row) for row in rows if row[2] + row[3])
