"""Focal weighting: one-hot targets, easy samples count less.

Focal loss (arXiv 1708.02002, eq. 5) in the language of weights: w⁺ = alpha (1 − P)^gamma on the class of a matched
target, w⁻ = (1 − alpha) P^gamma everywhere else. The factors carry gradient, as in the loss.
"""

from __future__ import annotations

import torch

from ..normalizers import normalizers
from ..registry import WEIGHTINGS
from ..scores import Scores
from ..structures import Assignment, Matches, Predictions, Targets
from .common import (
    BoxWeight,
    Count,
    box_weights,
    check_box_weight,
    count_objects,
    count_positives,
    countable,
    group_sum,
)


@WEIGHTINGS.register("focal")
class Focal:
    """Focal loss and box weights, divided by the number of positives or of targets.

    Args:
        alpha, gamma: as in the paper; alpha None leaves both signs unweighted; gamma 0 is cross entropy.
        box_weight: w° is 1 ("one"), the centerness ("centerness", FCOS) or the best score ("score").
        box_scale: multiplies w° after the normaliser is taken (the weight of the box term).
        floor_per_image: count an image without positives as one (mmdet's anchor heads do), not only a whole batch.
        box_floor: least value of the box normaliser.
        class_scale: multiplies w⁺ and w⁻ (the weight of the class terms).
        count: every term is divided by the number of "positives" (boxes by the sum of their weights), or of "targets":
            DETR's num_boxes, which counts a target without a sample too, and a pair of a target that has several.

    Raises:
        ValueError: for an unknown box_weight or count.
    """

    def __init__(
        self,
        alpha: float | None = 0.25,
        gamma: float = 2.0,
        box_weight: BoxWeight = "one",
        box_scale: float = 1.0,
        floor_per_image: bool = False,
        box_floor: float = 1.0,
        class_scale: float = 1.0,
        count: Count = "positives",
    ) -> None:
        check_box_weight(box_weight)
        if count not in ("positives", "targets"):
            raise ValueError(f'count: expected "positives" or "targets", got {count!r}')
        self.alpha = alpha
        self.gamma = gamma
        self.box_weight = box_weight
        self.box_scale = box_scale
        self.floor_per_image = floor_per_image
        self.box_floor = box_floor
        self.class_scale = class_scale
        self.count = count

    @property
    def needs(self) -> frozenset[str]:
        """Centerness is measured from points."""
        return frozenset({"points"} if self.box_weight == "centerness" else ())

    def __call__(self, predictions: Predictions, targets: Targets, matches: Matches, scores: Scores) -> Assignment:
        shares = (1.0, 1.0) if self.alpha is None else (self.alpha, 1 - self.alpha)
        positive_share, negative_share = (self.class_scale * share for share in shares)
        labels = matches.labels(targets)
        probability = scores.probability
        at_pairs = probability[matches.image, matches.sample, labels]
        positive = positive_share * (1 - at_pairs) ** self.gamma

        background = torch.ones_like(probability, requires_grad=False)
        background[matches.image, matches.sample, labels] = 0
        negative = negative_share * probability**self.gamma * background * countable(predictions, matches)

        box = box_weights(self.box_weight, predictions, targets, matches, scores)
        if self.count == "targets":
            count = total = count_objects(matches, targets, predictions)
        else:
            count = count_positives(matches, predictions, self.floor_per_image)
            total = group_sum(box, matches.image, predictions)
        norm = normalizers(count, count, total, floor=(1.0, 1.0, self.box_floor))
        return Assignment(matches, positive, negative, self.box_scale * box, norm)
