"""COCO's evaluation of boxes over whole columns: what pycocotools computes cell by cell, with equal numbers.

All images and classes are matched at once, in rounds: the best detections of every image and class first, then the second best.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .accuracy import IOUS, RECALLS, Accuracy
from .matching import Matching, Pairs, pairs_of

__all__ = ["Detections", "Objects", "evaluate"]

AREAS = np.array([(0, 1e10), (0, 32**2), (32**2, 96**2), (96**2, 1e10)])  # all, small, medium, large; both ends belong
THRESHOLDS = np.minimum(IOUS, 1 - 1e-10)
WRONG, RIGHT, EXCUSED = 0, 1, 2


class Objects(NamedTuple):
    """O annotations of a split."""

    images: np.ndarray  # (O,) index
    labels: np.ndarray  # (O,)
    boxes: np.ndarray  # (O, 4) x, y, width, height, pixels
    areas: np.ndarray  # (O,) pixels; decide about sizes
    crowd: np.ndarray  # (O,) bool


class Detections(NamedTuple):
    """D detections in a split, in any order."""

    images: np.ndarray  # (D,) index
    labels: np.ndarray  # (D,)
    boxes: np.ndarray  # (D, 4) x, y, width, height, pixels
    scores: np.ndarray  # (D,)


def evaluate(
    objects: Objects, detections: Detections, classes: tuple[str, ...], images: int, limits: tuple[int, ...]
) -> tuple[Accuracy, Matching]:
    """COCO's averages, and what was matched at the first IoU over all sizes.

    Args:
        objects: with crowd regions.
        detections: of equal scores the first counts as the better.
        classes: C names.
        images: how many there are.
        limits: detections of an image and class that count, rising; all but the last are for recall alone.
    """
    order = np.lexsort((-detections.scores, detections.images, detections.labels))
    rank = _rank(detections.labels[order] * images + detections.images[order])
    kept = order[rank < limits[-1]]
    detections, rank = Detections(*(column[kept] for column in detections)), rank[rank < limits[-1]]
    ignored = objects.crowd[:, None] | _outside(objects.areas)
    states, found = _match(objects, detections, ignored, images)
    out = _outside(detections.boxes[:, 2] * detections.boxes[:, 3])
    states[(states == WRONG) & out[:, None]] = EXCUSED
    counts = np.stack([np.bincount(objects.labels[~column], minlength=len(classes)) for column in ignored.T], 1)
    accuracy = Accuracy(
        _precision(states, detections, counts, len(classes)), _recall(states, detections, rank, counts, limits), limits
    )
    return accuracy, _matching(objects, detections, classes, images, states[:, 0, 0], found)


def _outside(areas: np.ndarray) -> np.ndarray:
    """(N, 4) which sizes areas (N,) are not of."""
    return (areas[:, None] < AREAS[:, 0]) | (areas[:, None] > AREAS[:, 1])


def _rank(cells: np.ndarray) -> np.ndarray:
    """(N,) place in its cell of each of N that are sorted by cell."""
    starts = np.flatnonzero(np.diff(cells, prepend=-1))
    lengths = np.diff(starts, append=len(cells))
    return np.arange(len(cells)) - np.repeat(starts, lengths)


def _match(objects: Objects, detections: Detections, ignored: np.ndarray, images: int) -> tuple[np.ndarray, np.ndarray]:
    """(D, 10, 4) the state of every detection at every IoU and size, and (D,) its object at the first of both, -1 for none.

    A detection takes the object that it overlaps most, one that counts rather than an ignored one; of equals the last.
    Objects are taken once, crowds as often as it comes.
    """
    pairs = _candidates(objects, detections, images)
    order = np.lexsort((pairs.objects, pairs.overlaps, pairs.detections))
    pairs = pairs.only(order)
    states = np.zeros((len(detections.scores), len(THRESHOLDS), len(AREAS)), np.int8)
    found = np.full(len(detections.scores), -1)
    taken = np.zeros((len(objects.labels), len(THRESHOLDS), len(AREAS)), bool)
    for places in _rounds(pairs, detections):
        target = pairs.objects[places]
        free = (pairs.overlaps[places, None] >= THRESHOLDS)[..., None] & ~(
            taken[target] & ~objects.crowd[target, None, None]
        )
        worth = np.arange(1, len(places) + 1)[:, None, None] + len(places) * ~ignored[target, None]
        detection, starts = np.unique(pairs.detections[places], return_index=True)
        best = np.maximum.reduceat(np.where(free, worth, 0), starts, axis=0)  # (detections, IoUs, sizes)
        which, iou, size = np.nonzero(best)
        chosen = target[(best[which, iou, size] - 1) % len(places)]
        taken[chosen, iou, size] = True
        states[detection[which], iou, size] = np.where(ignored[chosen, size], EXCUSED, RIGHT)
        first = (iou == 0) & (size == 0)
        found[detection[which[first]]] = chosen[first]
    return states, found


def _candidates(objects: Objects, detections: Detections, images: int) -> Pairs:
    """Pairs of one class that overlap enough; a crowd by its share of the detection."""
    pieces = []
    for crowd in (False, True):
        rows = np.flatnonzero(objects.crowd == crowd)
        near = pairs_of(
            (detections.images, detections.boxes),
            (objects.images[rows], objects.boxes[rows]),
            images,
            THRESHOLDS[0],
            crowd,
        )
        near = Pairs(near.detections, rows[near.objects], near.overlaps)
        pieces.append(near.only(detections.labels[near.detections] == objects.labels[near.objects]))
    columns = ("detections", "objects", "overlaps")
    return Pairs(*(np.concatenate([getattr(piece, name) for piece in pieces]) for name in columns))


def _rounds(pairs: Pairs, detections: Detections) -> list[np.ndarray]:
    """Places of pairs, by the rank of their detection among those of its image and class that have any."""
    with_any, back = np.unique(
        pairs.detections, return_inverse=True
    )  # sorted by class, image and score, as detections are
    cells = detections.labels[with_any] * (detections.images.max(initial=0) + 1) + detections.images[with_any]
    rank = _rank(cells)[back]
    order = np.argsort(rank, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(rank[order])) + 1) if len(order) else []


def _precision(states: np.ndarray, detections: Detections, counts: np.ndarray, classes: int) -> np.ndarray:
    """(10, 101, C, 4) made to fall, at RECALLS; -1 without objects."""
    precision = -np.ones((len(THRESHOLDS), len(RECALLS), classes, len(AREAS)))
    ends = np.searchsorted(detections.labels, np.arange(classes + 1))
    for label, size in np.argwhere(counts > 0).tolist():
        rows = slice(ends[label], ends[label + 1])
        own = states[rows][np.argsort(-detections.scores[rows], kind="stable"), :, size]  # (own, IoUs)
        right, wrong = (np.cumsum(own == state, 0, dtype=np.int64) for state in (RIGHT, WRONG))
        falling = np.maximum.accumulate((right / (right + wrong + np.spacing(1)))[::-1])[::-1]
        for iou in range(len(THRESHOLDS)):
            places = np.searchsorted(right[:, iou] / counts[label, size], RECALLS, side="left")
            precision[iou, :, label, size] = np.append(falling[:, iou], 0.0)[places]
    return precision


def _recall(
    states: np.ndarray, detections: Detections, rank: np.ndarray, counts: np.ndarray, limits: tuple[int, ...]
) -> np.ndarray:
    """(10, C, 4, L); -1 without objects."""
    recall = -np.ones((len(THRESHOLDS), *counts.shape, len(limits)))
    for place, limit in enumerate(limits):
        found = np.zeros((*counts.shape, len(THRESHOLDS)))
        which, iou, size = np.nonzero(states[rank < limit] == RIGHT)
        np.add.at(found, (detections.labels[rank < limit][which], size, iou), 1)
        share = np.divide(found, counts[..., None], out=np.full_like(found, -1.0), where=counts[..., None] > 0)
        recall[..., place] = share.transpose(2, 0, 1)
    return recall


def _matching(
    objects: Objects,
    detections: Detections,
    classes: tuple[str, ...],
    images: int,
    states: np.ndarray,
    found: np.ndarray,
) -> Matching:
    """Without crowds and what they excuse, by falling score."""
    counted = np.flatnonzero(states != EXCUSED)
    kept = counted[np.argsort(-detections.scores[counted], kind="stable")]
    real = ~objects.crowd
    row = np.append(np.cumsum(real) - 1, -1)
    return Matching(
        images,
        classes,
        *(column[real] for column in objects[:3]),
        *(column[kept] for column in detections),
        found=row[found[kept]],
    )
