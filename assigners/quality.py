"""Localisation qualities: how good the box of a pair is, as a number in [0, 1] without gradient.

A dual weighting multiplies it with the class score. Each is a callable (predictions, targets, matches) -> (P,); what it
needs of the predictions beyond logits and boxes it says in `needs`. A prediction that is not a number has quality 0.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .boxes import OVERLAPS, giou
from .registry import QUALITIES
from .structures import Matches, Predictions, Targets


def predicted_iou(predictions: Predictions, targets: Targets, matches: Matches, overlap: str = "iou") -> Tensor:
    """(P,) IoU of each pair's predicted box with its target, without gradient; 0 for a box that is not a number.

    With `overlap` "ciou" the complete IoU, at least 0.
    """
    overlap = OVERLAPS[overlap](matches.predicted_boxes(predictions).detach(), matches.target_boxes(targets))
    return overlap.nan_to_num(nan=0.0).clamp(0, 1)


@QUALITIES.register("exp_giou")
class ExpGIoU:
    """exp(-scale * (1 - GIoU)): DW's code, where scale 5 is also the weight of the box loss it stands for."""

    def __init__(self, scale: float = 5.0) -> None:
        self.scale = scale

    def __call__(self, predictions: Predictions, targets: Targets, matches: Matches) -> Tensor:
        distance = 1 - giou(matches.predicted_boxes(predictions).detach(), matches.target_boxes(targets))
        return torch.exp(-self.scale * distance.clamp(min=0)).nan_to_num(nan=0.0)  # GIoU may exceed 1 by rounding


@QUALITIES.register("power_iou")
class PowerIoU:
    """IoU^beta: the DW paper's form (eq. 6), beta 5; TOOD uses 6, GFL's quality is beta 1."""

    def __init__(self, beta: float = 5.0) -> None:
        self.beta = beta

    def __call__(self, predictions: Predictions, targets: Targets, matches: Matches) -> Tensor:
        return predicted_iou(predictions, targets, matches) ** self.beta


@QUALITIES.register("predicted_iou")
class PredictedIoU:
    """sigmoid(objectness)^beta: a branch of the head that learned to predict the IoU judges its own box."""

    needs = frozenset({"objectness"})

    def __init__(self, beta: float = 5.0) -> None:
        self.beta = beta

    def __call__(self, predictions: Predictions, targets: Targets, matches: Matches) -> Tensor:
        if predictions.objectness is None:
            raise ValueError("objectness: the quality predicted_iou needs it, got None")
        predicted = predictions.objectness[matches.image, matches.sample].detach()
        return predicted.sigmoid().nan_to_num(nan=0.0) ** self.beta
