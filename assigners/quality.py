"""Localisation qualities: how good the box of a pair is, as a number in [0, 1] without gradient.

A dual weighting multiplies it with the class score. Each is a callable (predictions, targets, matches) -> (P,); what it
needs of the predictions beyond logits and boxes it says in `needs`. A prediction that is not a number has quality 0.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from .boxes import OVERLAPS, giou, relative_iou
from .registry import QUALITIES
from .structures import Matches, Predictions, Targets


def predicted_iou(
    predictions: Predictions, targets: Targets, matches: Matches, overlap: str = "iou", eps: float = 0.0
) -> Tensor:
    """(P,) IoU of each pair's predicted box with its target, without gradient; 0 for a box that is not a number.

    With `overlap` "ciou" the complete IoU, at least 0. With `eps` the IoU of shares of the image, `eps` added to the union.
    """
    measure = partial(relative_iou, eps=eps) if eps else OVERLAPS[overlap]
    return measure(*pair_boxes(predictions, targets, matches, shares=bool(eps))).nan_to_num(nan=0.0).clamp(0, 1)


def pair_boxes(
    predictions: Predictions, targets: Targets, matches: Matches, shares: bool = False
) -> tuple[Tensor, Tensor]:
    """Predicted box, without gradient, and target of each pair, both (P, 4) xyxy, in pixels or as shares of the image."""
    predicted, wanted = matches.predicted_boxes(predictions).detach(), matches.target_boxes(targets)
    if not shares:
        return predicted, wanted
    return targets.shares_of(predicted, matches.image), targets.shares_of(wanted, matches.image)


@QUALITIES.register("exp_giou")
class ExpGIoU:
    """exp(-scale * (1 - GIoU)): DW's code, where scale 5 is also the weight of the box loss it stands for."""

    def __init__(self, scale: float = 5.0) -> None:
        self.scale = scale

    def __call__(self, predictions: Predictions, targets: Targets, matches: Matches) -> Tensor:
        distance = 1 - giou(*pair_boxes(predictions, targets, matches))
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
