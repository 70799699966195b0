"""What goes wrong, in kinds, and the AP that each kind costs: TIDE (Bolya et al., ECCV 2020, sections 2.2 and 2.3).

A detection that found nothing is of the first kind that fits:

- place: its class is right and the box not: its best IoU with objects of its class is at least NEAR and below the matching's;
- class: its box is right and the class not: it overlaps an object of another class as a match does;
- duplicate: it overlaps an object of its class as a match does, which another detection has found;
- background: no object overlaps it by NEAR;
- both: class and box are wrong.

An object is missed when no detection found it and none of the first two kinds would, were it set right.
What a kind costs is the AP that is won when it alone is set right: class and box become those of the object, if that is free
and no such detection of a higher score is about it; all others go; missed objects are not asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .curves import mean_average_precision
from .matching import Matching, Pairs, strongest

__all__ = ["KINDS", "NEAR", "Costs", "Errors", "costs", "errors"]

KINDS = ("class", "place", "both", "duplicate", "background", "missed")
CLASS, PLACE, BOTH, DUPLICATE, BACKGROUND, MISSED = range(6)
RIGHT = -1
NEAR = 0.1  # IoU; TIDE's background threshold


@dataclass(frozen=True, eq=False)
class Errors:
    """The kind of each of D detections and which of O objects are missed.

    Attributes:
        kinds: (D,) index among KINDS, RIGHT for what found its object.
        aims: (D,) the object that a detection of the wrong class or place is about, -1 for none.
        missed: (O,) bool.
    """

    kinds: np.ndarray
    aims: np.ndarray
    missed: np.ndarray

    @property
    def counts(self) -> dict[str, int]:
        """How many there are of each kind."""
        found = {name: int((self.kinds == kind).sum()) for kind, name in enumerate(KINDS)}
        return {**found, KINDS[MISSED]: int(self.missed.sum())}


@dataclass(frozen=True)
class Costs:
    """AP at the matching's IoU, and what would be won, all in [0, 1]; NaN without objects.

    Attributes:
        average_precision: as it is.
        kinds: what each of KINDS costs, 0 where setting it right loses something, as TIDE has it.
        false_positives: what all wrong detections cost.
        false_negatives: what all objects that were not found cost.
    """

    average_precision: float
    kinds: dict[str, float]
    false_positives: float
    false_negatives: float


def errors(matching: Matching, pairs: Pairs, overlap: float) -> Errors:
    """Sort out what went wrong.

    Args:
        matching: at the IoU `overlap`.
        pairs: those of an IoU of at least NEAR.
        overlap: an IoU above NEAR.
    """
    total = len(matching.scores)
    same = matching.detection_labels[pairs.detections] == matching.object_labels[pairs.objects]
    (own, own_iou), (other, other_iou) = (strongest(pairs.only(mask), total) for mask in (same, ~same))
    conditions = {
        RIGHT: matching.right,
        PLACE: (own_iou >= NEAR) & (own_iou < overlap),
        CLASS: other_iou >= overlap,
        DUPLICATE: own_iou >= overlap,
        BACKGROUND: np.maximum(own_iou, other_iou) < NEAR,
    }
    kinds = np.select([*conditions.values()], [*conditions], BOTH)
    aims = np.select([kinds == PLACE, kinds == CLASS], [own, other], -1)
    reached = np.zeros(len(matching.object_labels), bool)
    reached[matching.found[matching.right]] = True
    reached[aims[aims >= 0]] = True
    return Errors(kinds, aims, ~reached)


def costs(matching: Matching, sorted_out: Errors) -> Costs:
    """What every kind of error costs."""
    right, labels, objects = matching.right, matching.detection_labels, matching.object_counts
    before = mean_average_precision(matching.scores, right, labels, objects)

    def without(lost: np.ndarray) -> float:
        """What is won when some objects (O,) are not asked for."""
        asked = objects - np.bincount(matching.object_labels[lost], minlength=len(objects))
        return mean_average_precision(matching.scores, right, labels, asked) - before

    won, mended = {}, _mended(matching, sorted_out)
    for kind, name in enumerate(KINDS[:MISSED]):
        kept, set_right = (sorted_out.kinds != kind) | mended, mended & (sorted_out.kinds == kind)
        corrected = labels.copy()
        corrected[set_right] = matching.object_labels[sorted_out.aims[set_right]]
        now = mean_average_precision(matching.scores[kept], (right | set_right)[kept], corrected[kept], objects)
        won[name] = now - before
    won[KINDS[MISSED]] = without(sorted_out.missed)
    unfound = np.ones(len(matching.object_labels), bool)
    unfound[matching.found[right]] = False
    perfect = mean_average_precision(right.astype(float), right, labels, objects) - before
    kinds = {name: value if value != value else max(value, 0.0) for name, value in won.items()}
    return Costs(before, kinds, perfect, without(unfound))


def _mended(matching: Matching, sorted_out: Errors) -> np.ndarray:
    """(D,) whether a detection, set right, would find its object: a free one that none of a higher score is about."""
    free = np.ones(len(matching.object_labels) + 1, bool)
    free[matching.found[matching.right]] = False
    candidates = np.flatnonzero((sorted_out.aims >= 0) & free[sorted_out.aims])
    _, first = np.unique(sorted_out.aims[candidates], return_index=True)  # detections are by falling score
    mended = np.zeros(len(matching.scores), bool)
    mended[candidates[first]] = True
    return mended
