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
from .common import BoxWeight, box_weights, check_box_weight, count_positives, countable, group_sum


@WEIGHTINGS.register("focal")
class Focal:
    """Focal loss and box weights, divided by the number of positives.

    Args:
        alpha, gamma: as in the paper; alpha None leaves both signs unweighted; gamma 0 is cross entropy.
        box_weight: w° is 1 ("one"), the centerness ("centerness", FCOS) or the best score ("score").
        box_scale: multiplies w° after the normaliser is taken (the weight of the box term).
        floor_per_image: count an image without positives as one (mmdet's anchor heads do), not only a whole batch.
        box_floor: least value of the box normaliser.
    """

    needs: frozenset[str] = frozenset()

    def __init__(
        self,
        alpha: float | None = 0.25,
        gamma: float = 2.0,
        box_weight: BoxWeight = "one",
        box_scale: float = 1.0,
        floor_per_image: bool = False,
        box_floor: float = 1.0,
    ) -> None:
        check_box_weight(box_weight)
        self.alpha = alpha
        self.gamma = gamma
        self.box_weight = box_weight
        self.box_scale = box_scale
        self.floor_per_image = floor_per_image
        self.box_floor = box_floor

    def __call__(self, predictions: Predictions, targets: Targets, matches: Matches, scores: Scores) -> Assignment:
        positive_share, negative_share = (1.0, 1.0) if self.alpha is None else (self.alpha, 1 - self.alpha)
        labels = matches.labels(targets)
        probability = scores.probability
        at_pairs = probability[matches.image, matches.sample, labels]
        positive = positive_share * (1 - at_pairs) ** self.gamma

        background = torch.ones_like(probability, requires_grad=False)
        background[matches.image, matches.sample, labels] = 0
        negative = negative_share * probability**self.gamma * background * countable(predictions, matches)

        box = box_weights(self.box_weight, predictions, targets, matches, scores)
        count = count_positives(matches, predictions, self.floor_per_image)
        norm = normalizers(count, count, group_sum(box, matches.image, predictions), floor=(1.0, 1.0, self.box_floor))
        return Assignment(matches, positive, negative, self.box_scale * box, norm)
