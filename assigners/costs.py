"""Costs of a match: what a one-to-one matching minimises, every sample against every target.

Each term is a callable (predictions, targets) -> (B, N, M), without gradient, in the predictions' floating type; the
columns of padded targets hold anything. DETR's compare boxes as shares of their image (`Targets.sizes`).

A term in parts (`InParts`) says what a sample costs whatever its target, and what a target changes, so that the loss over
all C classes is never computed for every pair; it compares boxes in pixels, whose IoU the matching may know already.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from .boxes import center, iou, relative_giou, relative_l1
from .registry import COSTS, Weighted
from .scores import log1mexp
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


class InParts:
    """Base of the costs that are a sum of a sample's own part and of a pair's."""

    needs: frozenset[str] = frozenset()

    def __call__(self, predictions: Predictions, targets: Targets) -> Tensor:
        pairs = self.of_pairs(predictions, targets, overlaps(predictions, targets))
        return pairs + self.of_samples(predictions)[..., None]

    def of_samples(self, predictions: Predictions) -> Tensor:
        """(B, N) what a sample costs whatever its target: as background."""
        return predictions.boxes.new_zeros(predictions.boxes.shape[:2])

    def of_pairs(self, predictions: Predictions, targets: Targets, overlap: Tensor) -> Tensor:
        """(B, N, M) the rest, given the IoU (B, N, M) of predicted boxes and targets."""
        raise NotImplementedError


@COSTS.register("focal_loss")
class FocalLossCost(InParts):
    """The focal loss over all classes that a pair would have (OTA, arXiv 2103.14259; LLA, arXiv 2101.04307).

    "focal" is the part of it that the target's class changes.
    """

    def __init__(self, alpha: float = 0.25, gamma: float = 2.0) -> None:
        self.alpha = alpha
        self.gamma = gamma

    def of_samples(self, predictions: Predictions) -> Tensor:
        return self._negative(predictions.logits).sum(-1)

    def of_pairs(self, predictions: Predictions, targets: Targets, overlap: Tensor) -> Tensor:
        logits = at_labels(predictions.logits, targets)
        positive = self.alpha * (-logits).sigmoid() ** self.gamma * -logsigmoid(logits)
        return positive - self._negative(logits)

    def _negative(self, logits: Tensor) -> Tensor:
        return (1 - self.alpha) * logits.sigmoid() ** self.gamma * -logsigmoid(-logits)


@COSTS.register("binary_cross_entropy")
class BinaryCrossEntropyCost(InParts):
    """Binary cross entropy over all classes of P, one-hot at the target's (SimOTA, arXiv 2107.08430).

    P is the geometric mean of class score and second branch, the class score alone where there is no such branch.
    """

    def of_samples(self, predictions: Predictions) -> Tensor:
        objectness = predictions.objectness
        present = _log_mean(predictions.logits, None if objectness is None else objectness[..., None])
        return -log1mexp(present).sum(-1)

    def of_pairs(self, predictions: Predictions, targets: Targets, overlap: Tensor) -> Tensor:
        objectness = predictions.objectness
        logits = at_labels(predictions.logits, targets)
        present = _log_mean(logits, None if objectness is None else objectness[..., None])
        return log1mexp(present) - present


def _log_mean(logits: Tensor, objectness: Tensor | None) -> Tensor:
    """Log of the geometric mean of two sigmoids, or of the one that there is."""
    log_score = logsigmoid(logits)
    return log_score if objectness is None else (log_score + logsigmoid(objectness)) / 2


@COSTS.register("soft_label")
class SoftLabelCost(InParts):
    """Quality focal loss over all classes with the pair's IoU as the target's score (RTMDet, arXiv 2212.07784, eq. 1)."""

    def __init__(self, gamma: float = 2.0) -> None:
        self.gamma = gamma

    def of_samples(self, predictions: Predictions) -> Tensor:
        return self._negative(predictions.logits).sum(-1)

    def of_pairs(self, predictions: Predictions, targets: Targets, overlap: Tensor) -> Tensor:
        logits = at_labels(predictions.logits, targets)
        cross_entropy = -logsigmoid(-logits) - overlap * logits
        distance = (overlap - logits.sigmoid()).abs()
        return cross_entropy * distance**self.gamma - self._negative(logits)

    def _negative(self, logits: Tensor) -> Tensor:
        return logits.sigmoid() ** self.gamma * -logsigmoid(-logits)


@COSTS.register("iou_log")
class IoULogCost(InParts):
    """-log of the IoU of boxes in pixels, which is at least `eps` (SimOTA 1e-8, RTMDet 1e-7, OTA and LLA 1.19e-7)."""

    def __init__(self, eps: float = 1e-8) -> None:
        self.eps = eps

    def of_pairs(self, predictions: Predictions, targets: Targets, overlap: Tensor) -> Tensor:
        return -overlap.clamp(min=self.eps).log()


@COSTS.register("center_distance")
class CenterDistanceCost(InParts):
    """base^(d - offset) of the distance d of a sample's point from the target's centre, in strides (RTMDet, eq. 3)."""

    needs = frozenset({"points", "strides"})

    def __init__(self, base: float = 10.0, offset: float = 3.0) -> None:
        self.base = base
        self.offset = offset

    def of_pairs(self, predictions: Predictions, targets: Targets, overlap: Tensor) -> Tensor:
        points, centers = predictions.all_points.unbind(-1), center(targets.boxes).unbind(-1)
        across, down = (c[:, :, None] - p[:, None] for p, c in zip(points, centers, strict=True))  # (B, M, N)
        distance = torch.hypot(across, down) / predictions.all_strides[:, None]
        return (self.base ** (distance - self.offset)).transpose(1, 2)


def cost_as_background(costs: Mapping[str, Weighted], predictions: Predictions) -> Tensor:
    """(B, N) what samples cost whatever their target: a weighted sum over the terms that are in parts."""
    total = predictions.boxes.new_zeros(predictions.boxes.shape[:2])
    for term, weight in costs.values():
        if hasattr(term, "of_samples"):
            total = total + weight * term.of_samples(predictions)
    return total


def cost_of_pairs(
    costs: Mapping[str, Weighted], predictions: Predictions, targets: Targets, overlap: Tensor, background: Tensor
) -> Tensor:
    """(B, M, N) the weighted sum of all terms, given the IoUs (B, N, M) and what samples cost as background (B, N)."""
    total = background[:, None]
    for term, weight in costs.values():
        in_parts = hasattr(term, "of_pairs")
        part = term.of_pairs(predictions, targets, overlap) if in_parts else term(predictions, targets)
        total = total + (part if weight == 1 else weight * part).transpose(1, 2)
    return total


def overlaps(predictions: Predictions, targets: Targets) -> Tensor:
    """(B, N, M) IoU of predicted boxes and targets, in pixels."""
    predicted, wanted = (_planes_apart(boxes) for boxes in (predictions.boxes, targets.boxes))
    return iou(predicted[:, None], wanted[:, :, None]).transpose(1, 2)


def at_labels(values: Tensor, targets: Targets) -> Tensor:
    """Values (B, N, C) of the samples for the classes of the targets -> (B, N, M)."""
    labels = torch.where(targets.mask, targets.labels, 0)  # padding may hold any label
    images = torch.arange(len(labels), device=labels.device)[:, None]
    return values.transpose(1, 2)[images, labels].transpose(1, 2)


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
