"""Costs of a match: what a one-to-one matching minimises, every sample against every target.

Each term is a callable (predictions, targets) -> (B, N, M), without gradient, in the predictions' floating type; the
columns of padded targets hold anything. DETR's compare boxes as shares of their image (`Targets.sizes`).

A term in parts (`InParts`) says what a sample costs whatever its target, and what a target changes, so that the loss over
all C classes is never computed for every pair; it compares boxes in pixels, whose IoU the matching may know already.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, pad

from .boxes import center, corner_l1, iou, relative_giou, relative_iou, relative_l1
from .checks import check_choice
from .registry import COSTS, Weighted
from .scores import log1mexp
from .structures import Predictions, Targets

Cost = Callable[[Predictions, Targets], Tensor]


@COSTS.register("focal")
class FocalCost:
    """Focal loss of the class as positive less that as negative (Deformable DETR): P = sigmoid(logit).

    The logarithms are of P + eps and 1 - P + eps in float32, as in the published code, so they end near log eps.

    Args:
        alpha, gamma: of the focal loss.
        eps: 1e-8 nearly everywhere, 1e-6 in Relation-DETR, 1e-12 in mmdet.
        twice: P = sigmoid(sigmoid(logit)), which flattens the cost (mmdet's DDQ, in its dense part).
    """

    def __init__(self, alpha: float = 0.25, gamma: float = 2.0, eps: float = 1e-8, twice: bool = False) -> None:
        self.alpha = alpha
        self.gamma = gamma
        self.eps = eps
        self.twice = twice

    def __call__(self, predictions: Predictions, targets: Targets) -> Tensor:
        probability = at_labels(predictions.logits, targets).sigmoid()
        return self.of(probability.sigmoid() if self.twice else probability)

    def of(self, probability: Tensor) -> Tensor:
        """The cost of each probability."""
        positive = self.alpha * (1 - probability) ** self.gamma * -(probability + self.eps).log()
        negative = (1 - self.alpha) * probability**self.gamma * -(1 - probability + self.eps).log()
        return positive - negative


@COSTS.register("position_focal")
class PositionFocalCost:
    """Focal cost of P u^power: who fits badly counts as unlikely (Stable-DINO, arXiv 2304.04742).

    u = (GIoU + 1) / 2 of boxes as shares of the image, times what makes the largest of an image 1, but never less.

    Args:
        power: of u.
        alpha, gamma: of the focal loss.
        eps: added to union and hull (1e-6 in Stable-DINO's code).
        position: whose GIoU a pair has: its "own"; or that with the "last_of_class", the last object of its class in the batch,
            other images included, as in Stable-DINO's code, where pairs hang on batch mates and on the order of objects.

    Raises:
        ValueError: for another position.
    """

    def __init__(
        self,
        power: float = 0.5,
        alpha: float = 0.25,
        gamma: float = 2.0,
        eps: float = 0.0,
        position: Literal["own", "last_of_class"] = "own",
    ) -> None:
        check_choice("position", position, tuple(POSITIONS))
        self.power = power
        self.alpha = alpha
        self.gamma = gamma
        self.eps = eps
        self.position = position

    def __call__(self, predictions: Predictions, targets: Targets) -> Tensor:
        fit, everybody = POSITIONS[self.position](predictions, targets, self.eps)
        largest = everybody.nan_to_num(nan=0.0).flatten(1).amax(1)
        scale = (1 / (largest + 1e-8)).clamp(min=1)[:, None, None]
        probability = at_labels(predictions.logits, targets).sigmoid() * (fit * scale) ** self.power
        return FocalCost(self.alpha, self.gamma).of(probability)


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
    """Sum of the absolute differences of boxes as shares of the image (DETR).

    Args:
        layout: "cxcywh", of centre, width and height; or "xyxy", of the four sides (mmdet's DDQ, in its dense part).

    Raises:
        ValueError: for another layout.
    """

    def __init__(self, layout: Literal["cxcywh", "xyxy"] = "cxcywh") -> None:
        check_choice("layout", layout, tuple(LAYOUTS))
        self.layout = layout

    def __call__(self, predictions: Predictions, targets: Targets) -> Tensor:
        return pairwise(LAYOUTS[self.layout], predictions, targets)


LAYOUTS = {"cxcywh": relative_l1, "xyxy": corner_l1}


@COSTS.register("giou")
class GIoUCost:
    """-GIoU of boxes as shares of the image (DETR); `eps` is added to both denominators (1e-6 from DAB-DETR on)."""

    def __init__(self, eps: float = 0.0) -> None:
        self.eps = eps

    def __call__(self, predictions: Predictions, targets: Targets) -> Tensor:
        return -pairwise(partial(relative_giou, eps=self.eps), predictions, targets)


@COSTS.register("iou")
class IoUCost:
    """-IoU of boxes as shares of the image; `eps` is added to the union."""

    def __init__(self, eps: float = 0.0) -> None:
        self.eps = eps

    def __call__(self, predictions: Predictions, targets: Targets) -> Tensor:
        return -pairwise(partial(relative_iou, eps=self.eps), predictions, targets)


@COSTS.register("alignment")
class AlignmentCost:
    """-P^score_power IoU^iou_power: both tasks at once, which wants a trained model (Rank-DETR, arXiv 2310.08854).

    Args:
        score_power, iou_power: the exponents; Rank-DETR 1 and 4.
        eps: added to the union of boxes as shares of the image (1e-6 in Rank-DETR's code).
    """

    def __init__(self, score_power: float = 1.0, iou_power: float = 4.0, eps: float = 0.0) -> None:
        self.score_power = score_power
        self.iou_power = iou_power
        self.eps = eps

    def __call__(self, predictions: Predictions, targets: Targets) -> Tensor:
        overlap = pairwise(partial(relative_iou, eps=self.eps), predictions, targets)
        return -(at_labels(predictions.logits, targets).sigmoid() ** self.score_power) * overlap**self.iou_power


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


def own_position(predictions: Predictions, targets: Targets, eps: float) -> tuple[Tensor, Tensor]:
    """(B, N, M) how well the boxes of every pair fit, and the same, 0 in padding, with a column of 0 (B, N, M + 1)."""
    fit = pairwise(partial(_fit, eps=eps), predictions, targets)
    return fit, pad(torch.where(targets.mask[:, None], fit, 0), (0, 1))


def last_of_class(predictions: Predictions, targets: Targets, eps: float) -> tuple[Tensor, Tensor]:
    """(B, N, M) how well every sample fits the batch's last object of each target's class, and the same of all C classes."""
    classes, batch = predictions.logits.shape[-1], targets.first_images(len(targets.mask) // (predictions.groups or 1))
    objects = batch.shares_of(batch.boxes), batch.labels, batch.mask
    boxes, labels, mask = (each.flatten(0, 1) for each in objects)
    place = torch.where(mask, torch.arange(len(mask), device=mask.device), -1)
    last = place.new_full((classes,), -1).scatter_reduce(0, torch.where(mask, labels, 0), place, "amax")
    boxes = pad(boxes, (0, 0, 0, 1))[last]  # that of a class without objects is the one behind all others
    fit = _fit(targets.shares_of(predictions.boxes)[:, :, None], boxes, eps)
    fit = torch.where(last >= 0, fit, 0)
    return at_labels(fit, targets), fit


def _fit(boxes: Tensor, others: Tensor, eps: float) -> Tensor:
    """(GIoU + 1) / 2 of broadcast boxes (..., 4) and (..., 4) -> (...)."""
    return ((relative_giou(boxes, others, eps) + 1) / 2).clamp(min=0)


POSITIONS = {"own": own_position, "last_of_class": last_of_class}
"""Whose GIoU a pair has in `PositionFocalCost`."""


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
