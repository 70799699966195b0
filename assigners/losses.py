"""The one loss: three weighted sums, whatever assigner made the weights."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .boxes import giou, iou
from .registry import BOX_LOSSES
from .scores import Scores
from .structures import Assignment, Predictions, Targets

BoxLoss = Callable[[Tensor, Tensor], Tensor]


@BOX_LOSSES.register("giou")
def giou_loss() -> BoxLoss:
    """1 - GIoU (arXiv 1902.09630)."""
    return lambda predicted, target: 1 - giou(predicted, target)


@BOX_LOSSES.register("iou_log")
def iou_log_loss() -> BoxLoss:
    """-log IoU, the loss of UnitBox (arXiv 1608.01471) that FCOS was published with; IoU floored at 1e-6."""
    return lambda predicted, target: -iou(predicted, target).clamp(min=1e-6).log()


@BOX_LOSSES.register("l1")
def l1_loss() -> BoxLoss:
    """Sum of the absolute differences of the four coordinates, pixels."""
    return lambda predicted, target: (predicted - target).abs().sum(-1)


def assignment_losses(
    predictions: Predictions, targets: Targets, scores: Scores, assignment: Assignment, box_loss: BoxLoss
) -> dict[str, Tensor]:
    """The three terms of the loss.

    Returns:
        loss_cls_pos: sum w⁺ (−log P) / Z⁺; with a background class, its part included.
        loss_cls_neg: sum w⁻ (−log(1 − P)) / Z⁻.
        loss_box: sum w° d(box, target) / Z°.

    Every term stays connected to the predictions (a sum over no pairs still has them as its source), so a batch without
    objects gives every parameter a gradient of zero and distributed training finds none unused.
    """
    matches = assignment.matches
    positive_norm, negative_norm, box_norm = assignment.normalizers.unbind()
    present = scores.log_present(matches, matches.labels(targets))
    positive = _weighted_sum(assignment.positive, -present)
    if assignment.background is not None:
        positive = positive + _weighted_sum(assignment.background, -scores.log_background)
    negative = _weighted_sum(assignment.negative, -scores.log_absent)

    boxes = matches.predicted_boxes(predictions)
    box = _weighted_sum(assignment.box, box_loss(boxes, matches.target_boxes(targets)))
    return {
        "loss_cls_pos": positive / positive_norm,
        "loss_cls_neg": negative / negative_norm,
        "loss_box": box / box_norm,
    }


def _weighted_sum(weight: Tensor, value: Tensor) -> Tensor:
    """sum(weight * value), where a weight of zero silences an infinite value but never one that is not a number."""
    largest = torch.finfo(value.dtype).max
    return (weight * value.clamp(-largest, largest)).sum()
