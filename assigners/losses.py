"""The one loss: three weighted sums, whatever assigner made the weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from .boxes import giou, iou, relative_giou, relative_l1
from .registry import BOX_LOSSES, Weighted
from .scores import Scores
from .structures import Assignment, Matches, Predictions, Targets
from .weighting.common import group_sum

BoxLoss = Callable[[Tensor, Tensor], Tensor]
RELATIVE = "relative_"


class OnShares:
    """Base of the distances of boxes that want them as shares of their image, not in pixels."""


@BOX_LOSSES.register("giou")
class GIoULoss:
    """1 - GIoU (arXiv 1902.09630)."""

    def __call__(self, predicted: Tensor, target: Tensor) -> Tensor:
        return 1 - giou(predicted, target)


@BOX_LOSSES.register("iou_log")
class IoULogLoss:
    """-log IoU, the loss of UnitBox (arXiv 1608.01471) that FCOS was published with; IoU floored at 1e-6."""

    def __call__(self, predicted: Tensor, target: Tensor) -> Tensor:
        return -iou(predicted, target).clamp(min=1e-6).log()


@BOX_LOSSES.register("l1")
class L1Loss:
    """Sum of the absolute differences of the four coordinates, pixels."""

    def __call__(self, predicted: Tensor, target: Tensor) -> Tensor:
        return (predicted - target).abs().sum(-1)


@BOX_LOSSES.register("relative_l1")
class RelativeL1Loss(OnShares):
    """Sum of the absolute differences of centre, width and height, as shares of the image (DETR)."""

    def __call__(self, predicted: Tensor, target: Tensor) -> Tensor:
        return relative_l1(predicted, target)


@BOX_LOSSES.register("relative_giou")
class RelativeGIoULoss(OnShares):
    """1 - GIoU of boxes as shares of the image (DETR); `eps` is added to both denominators (1e-6 from DAB-DETR on)."""

    def __init__(self, eps: float = 0.0) -> None:
        self.eps = eps

    def __call__(self, predicted: Tensor, target: Tensor) -> Tensor:
        return 1 - relative_giou(predicted, target, self.eps)


def build_box_loss(spec: Any) -> BoxLoss | dict[str, Weighted]:
    """A box loss, or several by name.

    Args:
        spec: what BOX_LOSSES builds; or {name: coefficient} for several, which may be {name: {"weight": coefficient,
            ...arguments}}. Their entries in the loss are called loss_NAME, without a leading "relative_".

    Raises:
        ValueError: for an unknown name, and for two terms that would share an entry.
    """
    if not isinstance(spec, Mapping) or "type" in spec:
        return BOX_LOSSES.build(spec)
    terms = BOX_LOSSES.build_weighted(spec)
    named = {name.removeprefix(RELATIVE): term for name, term in terms.items()}
    if len(named) < len(terms):
        raise ValueError(f"box_loss: expected terms that differ in more than {RELATIVE!r}, got {sorted(terms)}")
    return named


def assignment_losses(
    predictions: Predictions,
    targets: Targets,
    scores: Scores,
    assignment: Assignment,
    box_loss: BoxLoss | Mapping[str, Weighted],
) -> dict[str, Tensor]:
    """The three terms of the loss, each a scalar, or (G,) for predictions in G groups.

    Returns:
        loss_cls_pos: sum w⁺ (−log P) / Z⁺; with a background class, its part included.
        loss_cls_neg: sum w⁻ (−log(1 − P)) / Z⁻.
        loss_box: sum w° d(box, target) / Z°; with several box losses one entry each, loss_NAME, coefficient included.

    Every term stays connected to the predictions (a sum over no pairs still has them as its source), so a batch without
    objects gives every parameter a gradient of zero and distributed training finds none unused.
    """
    matches = assignment.matches
    positive_norm, negative_norm, box_norm = assignment.normalizers.unbind()
    sum_of_pairs = partial(group_sum, image=matches.image, predictions=predictions)
    sum_of_samples = partial(group_sum, image=None, predictions=predictions)

    present = scores.log_present(matches, matches.labels(targets))
    positive = sum_of_pairs(_weighted(assignment.positive, -present))
    if assignment.background is not None:
        positive = positive + sum_of_samples(_weighted(assignment.background, -scores.log_background))
    negative = sum_of_samples(_weighted(assignment.negative, -scores.log_absent))
    terms = box_loss if isinstance(box_loss, Mapping) else {"box": Weighted(box_loss, 1.0)}
    box = {
        f"loss_{name}": weight * sum_of_pairs(_weighted(assignment.box, _distance(predictions, targets, matches, term)))
        for name, (term, weight) in terms.items()
    }
    return {
        "loss_cls_pos": positive / positive_norm,
        "loss_cls_neg": negative / negative_norm,
        **{name: value / box_norm for name, value in box.items()},
    }


def _distance(predictions: Predictions, targets: Targets, matches: Matches, distance: BoxLoss) -> Tensor:
    """(P,) distance of each pair's box from its target, in the unit that the distance asks for."""
    predicted, wanted = matches.predicted_boxes(predictions), matches.target_boxes(targets)
    if isinstance(distance, OnShares):
        predicted, wanted = (targets.shares_of(boxes, matches.image) for boxes in (predicted, wanted))
    return distance(predicted, wanted)


def _weighted(weight: Tensor, value: Tensor) -> Tensor:
    """weight * value, where a weight of zero silences an infinite value but never one that is not a number."""
    largest = torch.finfo(value.dtype).max
    return weight * value.clamp(-largest, largest)
