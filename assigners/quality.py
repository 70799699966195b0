"""Localisation qualities: how good the box of a pair is, as a number in [0, 1] without gradient.

A dual weighting multiplies it with the class score. Each is a callable (predictions, targets, matches) -> (P,).
"""

from __future__ import annotations

import torch
from torch import Tensor

from .boxes import giou, iou
from .registry import QUALITIES
from .structures import Matches, Predictions, Targets


@QUALITIES.register("exp_giou")
class ExpGIoU:
    """exp(-scale * (1 - GIoU)): DW's code, where scale 5 is also the weight of the box loss it stands for."""

    def __init__(self, scale: float = 5.0) -> None:
        self.scale = scale

    def __call__(self, predictions: Predictions, targets: Targets, matches: Matches) -> Tensor:
        distance = 1 - giou(matches.predicted_boxes(predictions), matches.target_boxes(targets))
        return torch.exp(-self.scale * distance.clamp(min=0)).detach()  # GIoU may exceed 1 by rounding


@QUALITIES.register("power_iou")
class PowerIoU:
    """IoU^beta: the DW paper's form (eq. 6), beta 5; TOOD uses 6, GFL's quality is beta 1."""

    def __init__(self, beta: float = 5.0) -> None:
        self.beta = beta

    def __call__(self, predictions: Predictions, targets: Targets, matches: Matches) -> Tensor:
        overlap = iou(matches.predicted_boxes(predictions), matches.target_boxes(targets))
        return overlap.clamp(0, 1).detach() ** self.beta


@QUALITIES.register("predicted_iou")
class PredictedIoU:
    """sigmoid(objectness)^beta: a branch of the head that learned to predict the IoU judges its own box."""

    def __init__(self, beta: float = 5.0) -> None:
        self.beta = beta

    def __call__(self, predictions: Predictions, targets: Targets, matches: Matches) -> Tensor:
        if predictions.objectness is None:
            raise ValueError("objectness: the quality predicted_iou needs it, got None")
        return predictions.objectness[matches.image, matches.sample].sigmoid().detach() ** self.beta
