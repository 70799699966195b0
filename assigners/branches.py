"""Second branches of a head: what its class-free output (`Predictions.objectness`) learns beside the three weights.

A score model that multiplies the branch in trains it through P, and the assigner has no branch of this kind. Each is a
callable (predictions, targets, assignment) -> a scalar, or (G,) for predictions in G groups; `name` is that of its entry
in the loss, `power` the exponent of class score and branch where inference multiplies them.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from .boxes import iou
from .needs import required
from .normalizers import mean_over_ranks
from .registry import BRANCHES
from .structures import Assignment, Matches, Predictions, Targets
from .weighting.common import count_positives, countable_as_background, group_sum, pair_centerness


class _OfPairs:
    """Binary cross entropy of the branch of every matched sample with a share that its pair says, by their number."""

    power = 1.0

    def __init__(self, weight: float = 1.0, as_boxes: bool = False) -> None:
        self.weight = weight
        self.as_boxes = as_boxes

    def __call__(self, predictions: Predictions, targets: Targets, assignment: Assignment) -> Tensor:
        matches = assignment.matches
        logits = required("objectness", predictions.objectness)[matches.image, matches.sample]
        wanted = self.wanted(predictions, targets, matches).to(logits)
        loss = binary_cross_entropy_with_logits(logits, wanted, reduction="none")
        if self.as_boxes:
            return (
                self.weight * group_sum(loss * assignment.box, matches.image, predictions) / assignment.normalizers[2]
            )
        return self.weight * group_sum(loss, matches.image, predictions) / _positives(predictions, matches)

    def wanted(self, predictions: Predictions, targets: Targets, matches: Matches) -> Tensor:
        """(P,) the share that each pair says."""
        raise NotImplementedError


@BRANCHES.register("centerness")
class Centerness(_OfPairs):
    """FCOS's centerness of the pairs' points (arXiv 1904.01355, eq. 3).

    Args:
        weight: coefficient of the loss.
        least_side: a point counts as so many strides from every side at least (RFLA 0.01).
    """

    name = "centerness"

    def __init__(self, weight: float = 1.0, least_side: float = 0.0) -> None:
        super().__init__(weight)
        self.least_side = least_side

    def wanted(self, predictions: Predictions, targets: Targets, matches: Matches) -> Tensor:
        """(P,) the centerness of each pair's point."""
        return pair_centerness(predictions, targets, matches, self.least_side)


@BRANCHES.register("iou")
class IoUBranch(_OfPairs):
    """The IoU that the pairs' predicted boxes have (IoU-Net, arXiv 1807.11590; PAA, OTA with weight 0.5, DDOD with 1).

    Args:
        weight: coefficient of the loss.
        power: exponent of class score and branch where they are multiplied; 0.5 is their geometric mean (PAA, OTA).
        as_boxes: weigh pairs by w° and divide their sum by Z°, as of boxes, instead of counting each as one (DDOD).
    """

    name = "iou"

    def __init__(self, weight: float = 0.5, power: float = 0.5, as_boxes: bool = False) -> None:
        super().__init__(weight, as_boxes)
        self.power = power

    def wanted(self, predictions: Predictions, targets: Targets, matches: Matches) -> Tensor:
        """(P,) IoU of each pair's predicted box with its target."""
        overlap = iou(matches.predicted_boxes(predictions).detach(), matches.target_boxes(targets))
        return overlap.nan_to_num(nan=0.0).clamp(0, 1)


@BRANCHES.register("foreground")
class Foreground:
    """Whether a sample is matched at all: binary cross entropy over all samples, by the number of pairs (YOLOX).

    A sample that only learns a box, as of another layer's pairs, is none of the matched ones.

    Args:
        weight: coefficient of the loss.
        power: exponent of class score and branch where they are multiplied.
        least_per_image: what the divisor is at least, for every image, so that a batch without objects is no spike in the loss.
            YOLOX has 0, and 1 at least for the whole batch: its loss is some 25 times as high without objects.
    """

    name = "objectness"
    needs = frozenset({"objectness"})
    rare = True  # it is true of few samples, and heads start it at the probability that they start classes with

    def __init__(self, weight: float = 1.0, power: float = 1.0, least_per_image: float = 1.0) -> None:
        self.weight = weight
        self.power = power
        self.least_per_image = least_per_image

    def __call__(self, predictions: Predictions, targets: Targets, assignment: Assignment) -> Tensor:
        matches, logits = assignment.class_matches, required("objectness", predictions.objectness)
        wanted = torch.zeros_like(logits, requires_grad=False)
        wanted[matches.image, matches.sample] = 1
        loss = binary_cross_entropy_with_logits(logits, wanted, reduction="none")
        loss = loss * countable_as_background(predictions, matches)
        images = len(logits) // (predictions.groups or 1)
        divisor = _positives(predictions, matches).clamp(min=self.least_per_image * images)
        return self.weight * group_sum(loss, None, predictions) / divisor


def _positives(predictions: Predictions, matches: Matches) -> Tensor:
    """Number of pairs over all ranks' mean, at least 1; a scalar or (G,)."""
    return mean_over_ranks(count_positives(matches, predictions, floor_per_image=False)).clamp(min=1)
