"""Costs of a match: what a one-to-one matching minimises, every sample against every target.

Each term is a callable (predictions, targets) -> (B, N, M), without gradient, in the predictions' floating type; the
columns of padded targets hold anything. Boxes are compared as shares of their image (`Targets.sizes`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from .boxes import iou, relative_giou, relative_l1
from .registry import COSTS
from .structures import Predictions, Targets

Cost = Callable[[Predictions, Targets], Tensor]


@COSTS.register("focal")
class FocalCost:
    """Focal loss of the class as positive less that as negative (Deformable DETR): P = sigmoid(logit).

    The logarithms are of P + 1e-8 and 1 - P + 1e-8 in float32, as in the published code, so they end near -18.
    """

    def __init__(self, alpha: float = 0.25, gamma: float = 2.0) -> None:
        self.alpha = alpha
        self.gamma = gamma

    def __call__(self, predictions: Predictions, targets: Targets) -> Tensor:
        probability = at_labels(predictions.logits, targets).sigmoid()
        positive = self.alpha * (1 - probability) ** self.gamma * -(probability + 1e-8).log()
        negative = (1 - self.alpha) * probability**self.gamma * -(1 - probability + 1e-8).log()
        return positive - negative


@COSTS.register("softmax")
class SoftmaxCost:
    """-P of a softmax (DETR), the background column among the competitors."""

    def __call__(self, predictions: Predictions, targets: Targets) -> Tensor:
        return -at_labels(predictions.logits.softmax(-1), targets)


@COSTS.register("cross_entropy")
class CrossEntropyCost:
    """-log P of a softmax, the background column among the competitors."""

    def __call__(self, predictions: Predictions, targets: Targets) -> Tensor:
        return -at_labels(predictions.logits.log_softmax(-1), targets)


@COSTS.register("l1")
class L1Cost:
    """Sum of the absolute differences of centre, width and height, as shares of the image (DETR)."""

    def __call__(self, predictions: Predictions, targets: Targets) -> Tensor:
        return pairwise(relative_l1, predictions, targets)


@COSTS.register("giou")
class GIoUCost:
    """-GIoU of boxes as shares of the image (DETR); `eps` is added to both denominators (1e-6 from DAB-DETR on)."""

    def __init__(self, eps: float = 0.0) -> None:
        self.eps = eps

    def __call__(self, predictions: Predictions, targets: Targets) -> Tensor:
        return -pairwise(partial(relative_giou, eps=self.eps), predictions, targets)


@COSTS.register("iou")
class IoUCost:
    """-IoU of boxes as shares of the image."""

    def __call__(self, predictions: Predictions, targets: Targets) -> Tensor:
        return -pairwise(iou, predictions, targets)


def at_labels(values: Tensor, targets: Targets) -> Tensor:
    """Values (B, N, C) of the samples for the classes of the targets -> (B, N, M)."""
    labels = torch.where(targets.mask, targets.labels, 0)  # padding may hold any label
    by_target = values.transpose(1, 2).gather(1, labels[:, :, None].expand(-1, -1, values.shape[1]))
    return by_target.transpose(1, 2)


def pairwise(distance: Callable[[Tensor, Tensor], Tensor], predictions: Predictions, targets: Targets) -> Tensor:
    """(B, N, M) distance of every predicted box, as a share of the image, from every target's.

    Computed with the samples, of which there are many, along the last axis, and every coordinate in one piece: several
    times as fast as in the order of the result, which is the same tensor turned round.
    """
    predicted, wanted = (_planes_apart(targets.shares_of(boxes)) for boxes in (predictions.boxes, targets.boxes))
    return distance(predicted[:, None], wanted[:, :, None]).transpose(1, 2)


def _planes_apart(boxes: Tensor) -> Tensor:
    """The same boxes (B, K, 4), each coordinate contiguous in memory."""
    return boxes.movedim(-1, 0).contiguous().movedim(0, -1)
