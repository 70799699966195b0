"""What every object gets, sample by sample: the three weights, and what an assigner may have looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...assigners import Assigner, Assignment, Matches, Predictions, Targets
from ...assigners.boxes import center
from ...assigners.matching.dynamic_k import binary
from ...assigners.quality import predicted_iou


@dataclass(frozen=True)
class Samples:
    """The pairs of one image that learn: P of them, by object, the heaviest first.

    Attributes:
        name: of the assigner.
        count: N, samples of the image.
        objects: M.
        sample, learnt: (P,) the pairs, sample and object.
        positive, negative, box: (P,) w⁺, w⁻ and w° of the pair's sample, the first two on the class of its object.
        score: (P,) P of that class.
        iou: (P,) of the predicted box with the object's.
        grade: (P,) how much the matching likes the pair, 1 where it does not grade.
        costs: (P,) of each term of the matching's cost, by its name, times its weight; empty where it has none.
        predicted: (P, 4) xyxy, pixels.
        points: (P, 2) xy, pixels, where the samples sit.
        strides: (P,) pixels per cell of their levels; None where the predictions have none.
        pyramid: whether the samples are points of a pyramid's levels; else they are queries.
    """

    name: str
    count: int
    objects: int
    sample: np.ndarray
    learnt: np.ndarray
    positive: np.ndarray
    negative: np.ndarray
    box: np.ndarray
    score: np.ndarray
    iou: np.ndarray
    grade: np.ndarray
    costs: dict[str, np.ndarray]
    predicted: np.ndarray
    points: np.ndarray
    strides: np.ndarray | None
    pyramid: bool

    def of(self, index: int) -> np.ndarray:
        """Which pairs are an object's."""
        return np.flatnonzero(self.learnt == index)

    def target(self, index: int, most: int | None = None) -> list[dict[str, Any]]:
        """An object's samples in plain values, the heaviest first, at most so many."""
        return [
            {
                "sample": int(self.sample[pair]),
                "stride": None if self.strides is None else float(self.strides[pair]),
                "point": self.points[pair].tolist(),
                "positive": float(self.positive[pair]),
                "negative": float(self.negative[pair]),
                "box": float(self.box[pair]),
                "score": float(self.score[pair]),
                "iou": float(self.iou[pair]),
                "grade": float(self.grade[pair]),
                "costs": {term: float(cost[pair]) for term, cost in self.costs.items()},
                "predicted": self.predicted[pair].tolist(),
            }
            for pair in self.of(index)[:most]
        ]

    def totals(self) -> dict[str, Any]:
        """Figures of the whole image."""
        learnt = len(np.unique(self.learnt[self.positive > 0]))
        return {"samples": self.count, "pairs": len(self.sample), "objects": learnt, "targets": self.objects}

    def weights(self, index: int) -> dict[int, float]:
        """w⁺ of an object's samples, by sample."""
        pairs = self.of(index)
        return dict(zip(self.sample[pairs].tolist(), self.positive[pairs].tolist(), strict=True))

    def share(self, index: int) -> tuple[int, float, float, float]:
        """How many samples an object has, how many of equal w⁺ these are worth, the share of w⁺ of the best, the best IoU.

        NaN for the last two of an object without samples.
        """
        pairs = self.of(index)
        weight = self.positive[pairs].astype(np.float64)
        if not weight.sum() > 0:
            return 0, 0.0, np.nan, np.nan
        best = float(weight.max() / weight.sum())
        return int((weight > 0).sum()), float(weight.sum() ** 2 / (weight**2).sum()), best, float(self.iou[pairs].max())


@torch.no_grad()
def samples_of(name: str, assigner: Assigner, predictions: Predictions, targets: Targets) -> Samples:
    """What an assigner gives the objects of one image.

    Args:
        name: to call the assigner by.
        assigner: any.
        predictions: of one image, or of it in several stacked groups, of which the final one is shown; in the form of the
            assigner's score model (see `subjects.translate`).
        targets: of that image, unpadded.

    Raises:
        ValueError: when there is more than one image, or the predictions lack what the assigner needs.
    """
    check_one_image(targets)
    check_provided(name, assigner, predictions)
    return samples_from(name, assigner, assigner(predictions, stacked(targets, predictions)), predictions, targets)


def samples_from(
    name: str, assigner: Assigner, assignment: Assignment, predictions: Predictions, targets: Targets
) -> Samples:
    """The same of an assignment that is there already."""
    repeated, group = stacked(targets, predictions), predictions.final_group
    matches = assignment.matches
    learns = (matches.image == group) & ((assignment.positive > 0) | (assignment.box > 0))
    order = _heaviest_first(matches.target, assignment.positive + assignment.box * 1e-9)
    chosen = order[learns[order]]
    pairs, labels = matches.select(chosen), matches.labels(repeated)[chosen]
    every = features_of(assigner, predictions, targets)
    at = pairs.sample, pairs.target
    negative = assignment.pushes.dense[pairs.image, pairs.sample, labels]
    strides = None if predictions.strides is None else predictions.strides_at(pairs.image, pairs.sample)
    columns = (pairs.sample, pairs.target, assignment.positive[chosen], negative, assignment.box[chosen])
    features = every.score[at], predicted_iou(predictions, repeated, pairs), pairs.score
    return Samples(
        name,
        predictions.logits.shape[1],
        targets.boxes.shape[1],
        *(column.numpy() for column in (*columns, *features)),
        {term: cost[at].numpy() for term, cost in every.costs.items()},
        pairs.predicted_boxes(predictions).numpy(),
        points_of(predictions, pairs).numpy(),
        None if strides is None else strides.numpy(),
        predictions.level_sizes is not None,
    )


@dataclass(frozen=True)
class Features:
    """What there is to look at of all samples and objects of an image.

    Attributes:
        score: (N, M) P of each sample for each object's class.
        costs: (N, M) of each term of the matching's cost, by its name, times its weight; empty where it has none.
    """

    score: Tensor
    costs: dict[str, Tensor]

    @property
    def total(self) -> Tensor | None:
        """(N, M) the cost of every pair, None where the matching has none."""
        return sum(self.costs.values()) if self.costs else None


def features_of(assigner: Assigner, predictions: Predictions, targets: Targets) -> Features:
    """Scores and costs of the final group."""
    group = predictions.final_group
    probability = assigner.score(predictions).probability[group]
    repeated = stacked(targets, predictions)
    matching = getattr(assigner, "matching", None)
    seen = binary(predictions, matching.score) if hasattr(matching, "score") else predictions
    terms: Mapping[str, Any] = getattr(matching, "costs", None) or {}
    costs = {term: (cost.part(seen, repeated) * cost.weight)[group] for term, cost in terms.items()}
    return Features(probability[:, targets.labels[0]], costs)


def stacked(targets: Targets, predictions: Predictions) -> Targets:
    """The targets of every group of the predictions."""
    return targets.repeat(predictions.groups or 1)


def points_of(predictions: Predictions, pairs: Matches) -> Tensor:
    """(P, 2) xy, pixels: points of the pairs' samples, or centres of their boxes where they have none."""
    if predictions.points is None:
        return center(pairs.predicted_boxes(predictions))
    return predictions.points_at(pairs.image, pairs.sample)


def check_one_image(targets: Targets) -> None:
    """Raise ValueError for targets of several images."""
    if len(targets.boxes) != 1:
        raise ValueError(f"targets: expected those of one image, got {len(targets.boxes)} images")


def check_provided(name: str, assigner: Assigner, predictions: Predictions, also: frozenset[str] = frozenset()) -> None:
    """Raise ValueError when predictions lack what an assigner, or a drawing, needs."""
    missing = sorted((assigner.needs | also) - predictions.provides)
    if missing:
        raise ValueError(f"assigner {name!r}: needs {', '.join(missing)}, which these predictions do not have")


def _heaviest_first(target: Tensor, weight: Tensor) -> Tensor:
    """(P,) the order by target, and among a target's pairs by falling weight."""
    falling = weight.argsort(descending=True, stable=True)
    return falling[target[falling].argsort(stable=True)]
