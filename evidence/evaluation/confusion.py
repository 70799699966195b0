"""Which class is taken for which, with background."""

from __future__ import annotations

import numpy as np

from .matching import Matching, Pairs

__all__ = ["confusion"]


def confusion(matching: Matching, pairs: Pairs, threshold: float, overlap: float) -> np.ndarray:
    """(C + 1, C + 1) counts of objects by what they are (rows) and what they were detected as (columns); last: background.

    Detections below the score `threshold` do not count. First stands what found its object, as AP counts it: the diagonal.
    Detections and objects that are left over are paired across classes from the highest IoU down, to `overlap`. What is
    left then is background: detections of nothing in the last row, objects that nothing detected in the last column.

    Args:
        matching: at the same `overlap`.
        pairs: those of at least `overlap`, or more of them.
        threshold: a score.
        overlap: an IoU.
    """
    background = len(matching.classes)
    counted = matching.scores >= threshold
    object_of = np.where(counted, matching.found, -1)
    detected_as = np.full(len(matching.object_labels), background)
    detected_as[object_of[object_of >= 0]] = matching.detection_labels[object_of >= 0]
    open_object = detected_as == background
    free = counted[pairs.detections] & (object_of[pairs.detections] < 0) & open_object[pairs.objects]
    across = matching.detection_labels[pairs.detections] != matching.object_labels[pairs.objects]
    detections, objects = _one_to_one(pairs.only(free & across & (pairs.overlaps >= overlap)))
    detected_as[objects], object_of[detections] = matching.detection_labels[detections], objects
    counts = np.zeros((background + 1, background + 1), int)
    np.add.at(counts, (matching.object_labels, detected_as), 1)
    np.add.at(counts[background], matching.detection_labels[counted & (object_of < 0)], 1)
    return counts


def _one_to_one(pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    """Detections and objects, each in one pair at most, from the highest IoU down; of equals the higher score first."""
    order = np.lexsort((pairs.objects, pairs.detections, -pairs.overlaps))
    chosen: list[tuple[int, int]] = []
    taken: tuple[set[int], set[int]] = set(), set()
    for detection, found in zip(pairs.detections[order].tolist(), pairs.objects[order].tolist(), strict=True):
        if detection not in taken[0] and found not in taken[1]:
            chosen.append((detection, found))
            taken[0].add(detection)
            taken[1].add(found)
    detections, objects = np.array(chosen, int).reshape(-1, 2).T
    return detections, objects
