"""Which samples learn which objects of one image, and how much of that is other than before.

The instability of DN-DETR (arXiv 2203.01305, section 3.2). Of an image at epoch e, V^e is the vector that has for every query
the object it is matched with, or none; the instability is the number of queries whose entry changed,

    IS^e = Σ_n 1(V^e_n ≠ V^(e-1)_n),

and that of a set the mean over its images. An object that goes from one query to a free one counts twice, so it is at most
twice the number of objects under a one-to-one matching. DN-DETR measures it on COCO's val2017 in the last decoder layer.

A dense sample may learn several objects, with any weight; its entry is then the object that pushes it up the most
(`Assignment.target_of`), and the sum is the same. As objects have many samples there, the number grows with them; what compares
between assigners is `moved`: the share of an object's w⁺ that is with other samples than before,

    moved = ½ Σ_n |p^e_n − p^(e-1)_n|,   p_n the share of the object's w⁺ that sample n has.

It is 0 where all is as before, 1 where no sample is left, and for an object with one query 1 exactly where that changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from ...assigners import BACKGROUND, Assignment, Predictions, Targets
from .scores import Scoring, score_and_iou

__all__ = ["Learnt", "between_layers", "instability", "learnt", "moved", "moved_between_layers"]


@dataclass(frozen=True)
class Learnt:
    """The P pairs of w⁺ > 0 of one image, in the order of the matching.

    Attributes:
        samples, objects: N and M of the image.
        layers: G groups of predictions; 1 where there is no decoder.
        final: which of them detects.
        layer, sample, target: (P,) of each pair.
        level: (P,) of each pair's sample: that of a pyramid, else 0.
        weight, score, iou: (P,) w⁺, score of the class as inference ranks it, IoU of the boxes.
    """

    samples: int
    objects: int
    layers: int
    final: int
    layer: np.ndarray
    sample: np.ndarray
    target: np.ndarray
    level: np.ndarray
    weight: np.ndarray
    score: np.ndarray
    iou: np.ndarray

    def vectors(self) -> np.ndarray:
        """(G, N) V of every layer: the object that each sample learns the most, BACKGROUND for none, the last of equals."""
        found = np.full((self.layers, self.samples), BACKGROUND)
        order = np.argsort(self.weight, kind="stable")
        found[self.layer[order], self.sample[order]] = self.target[order]  # of repeated places the last value stays
        return found

    def per_object(self, values: np.ndarray) -> np.ndarray:
        """(G, M) sums of values (P,) over each object's pairs."""
        sums = np.bincount(self.layer * self.objects + self.target, values, self.layers * self.objects)
        return sums.reshape(self.layers, self.objects)

    def in_final(self) -> np.ndarray:
        """(P,) the pairs of the layer that detects."""
        return self.layer == self.final

    def to_tensors(self) -> dict[str, int | Tensor]:
        """Plain values and tensors, for a checkpoint."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name: torch.from_numpy(value) if isinstance(value, np.ndarray) else value for name, value in values.items()
        }

    @classmethod
    def from_tensors(cls, values: Mapping[str, int | Tensor]) -> Learnt:
        """The inverse."""
        return cls(**{name: value.numpy() if isinstance(value, Tensor) else value for name, value in values.items()})


@torch.no_grad()
def learnt(assignment: Assignment, predictions: Predictions, targets: Targets, scoring: Scoring) -> Learnt:
    """What an assignment of one image says; its numbers come to the host in one copy.

    Args:
        assignment: of one image, G times where predictions are in G groups.
        predictions, targets: what was asked.
        scoring: the assigner's `pair_scores`.

    Raises:
        ValueError: when there is more than one image.
    """
    groups, matches = predictions.groups or 1, assignment.matches
    if len(predictions.logits) != groups:
        raise ValueError(f"predictions: expected those of one image, got {len(predictions.logits) // groups}")
    score, overlap = score_and_iou(matches, predictions, targets, scoring)
    columns = [matches.image, matches.sample, matches.target, assignment.positive, score, overlap]
    table = torch.stack([column.double() for column in columns]).cpu().numpy()
    layer, sample, target, weight, score, overlap = table[:, table[3] > 0]
    sizes = predictions.level_sizes if predictions.groups is None and predictions.level_sizes else ()
    level = np.searchsorted(np.cumsum(sizes), sample, side="right") if sizes else np.zeros(len(sample))
    indices = (column.astype(np.int64) for column in (layer, sample, target, level))
    counts = predictions.logits.shape[1], targets.boxes.shape[1], groups, predictions.final_group
    return Learnt(*counts, *indices, weight, score, overlap)


def instability(before: Learnt, now: Learnt) -> np.ndarray:
    """(G,) IS of every layer: samples that learn another object than before, of the same image."""
    return (before.vectors() != now.vectors()).sum(1)


def moved(before: Learnt, now: Learnt) -> np.ndarray:
    """(G, M) share of each object's w⁺ that is with other samples than before, 1 where it had or has none; NaN for both."""
    keys, shares = zip(*map(_shares, (before, now)), strict=True)
    return _distance(np.concatenate(keys), np.concatenate([-shares[0], shares[1]]), before, now)


def between_layers(now: Learnt) -> np.ndarray:
    """(L - 1,) IS of each decoder layer beside the one before it; layers behind the one that detects are left out."""
    vectors = now.vectors()[: now.final + 1]
    return (vectors[1:] != vectors[:-1]).sum(1)


def moved_between_layers(now: Learnt) -> np.ndarray:
    """(L - 1, M) `moved`, of each decoder layer beside the one before it."""
    earlier, later = (_shifted(now, shift) for shift in (1, 0))
    return moved(earlier, later)[1 : now.final + 1]


def _shifted(image: Learnt, by: int) -> Learnt:
    """The same with every layer's pairs so many layers later."""
    kept = image.layer + by < image.layers
    columns = {name: getattr(image, name)[kept] for name in ("sample", "target", "level", "weight", "score", "iou")}
    counts = {name: getattr(image, name) for name in ("samples", "objects", "layers", "final")}
    return Learnt(**counts, layer=image.layer[kept] + by, **columns)


def _shares(image: Learnt) -> tuple[np.ndarray, np.ndarray]:
    """(P,) a number for layer, object and sample of each pair, and the share of the object's w⁺ that it has."""
    place = image.layer * image.objects + image.target
    return place * image.samples + image.sample, image.weight / image.per_object(image.weight).ravel()[place]


def _distance(keys: np.ndarray, differences: np.ndarray, before: Learnt, now: Learnt) -> np.ndarray:
    """(G, M) half the sum of the absolute differences, added up by key; 1 where one side has nothing, NaN where both."""
    known, place = np.unique(keys, return_inverse=True)
    changed = np.abs(np.bincount(place, differences, len(known)))
    total = np.bincount(known // now.samples, changed, now.layers * now.objects).reshape(now.layers, now.objects) / 2
    has = [image.per_object(image.weight) > 0 for image in (before, now)]
    return np.where(has[0] & has[1], total, np.where(has[0] | has[1], 1.0, np.nan))
