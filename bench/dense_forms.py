"""Assigners in the form in which their authors' code computes them: every sample against every object of an image, densely.

What `bench assigners --speed` puts beside the sparse forms of this project where mmdet has no class for it. Formulas are
those of the papers' code (DW: arXiv 2203.09730; task-aligned as in YOLOv8; OTA: arXiv 2103.14259), written anew.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy, binary_cross_entropy_with_logits, one_hot

from ..assigners import Predictions, Targets
from ..assigners.boxes import center, ciou, giou, iou, side_distances

__all__ = ["DENSE_FORMS"]

TINY = 1e-12


def dual_weighting(predictions: Predictions, targets: Targets, last: bool = False) -> Tensor:
    """DW's three terms, each matrix (N, M).

    A class of a sample that several objects claim has the P_neg of the `last`, as in the original, or the least.
    """
    joint = predictions.logits.sigmoid() * predictions.objectness.sigmoid()[..., None]  # (B, N, C)
    count = targets.mask.sum().clamp(min=1)
    positive, negative, foreground = 0.0, 0.0, 0.0
    for image in range(len(joint)):
        boxes, labels = targets.boxes[image][targets.mask[image]], targets.labels[image][targets.mask[image]]
        inside = side_distances(predictions.points[:, None], boxes).amin(-1) > 0  # (N, M)
        offset = (predictions.points[:, None] - center(boxes)) / predictions.strides[:, None, None]
        prior = torch.exp(-offset.square() / (2 * 1.11**2)).prod(-1) * inside
        distance = 1 - giou(predictions.boxes[image][:, None], boxes)
        near, likely = torch.exp(-5 * distance.clamp(min=0)), joint[image][:, labels]
        fit = (near * likely).detach()
        weight = torch.exp(5 * fit) * fit * prior
        weight = weight / (torch.exp(3 * fit) * fit * prior).sum(0).clamp(min=TINY)
        positive = positive + (weight * (_minus_log(likely) + _minus_log(near))).sum()

        overlap = iou(predictions.boxes[image][:, None], boxes).detach() * inside
        share = torch.ones_like(joint[image], requires_grad=False)
        for index, label in enumerate(labels.tolist()):
            held = inside[:, index]
            if held.any():
                own = _stretched(overlap[held, index])
                share[held, label] = own if last else torch.minimum(own, share[held, label])
        foreground = foreground + (1 - share).sum()
        negative = negative + (share * joint[image].square() * -(1 - joint[image]).log().clamp(min=-100)).sum()
    return 0.25 * positive / count + negative / foreground.clamp(min=1)


def _minus_log(probability: Tensor) -> Tensor:
    return binary_cross_entropy(probability.clamp(max=1), torch.ones_like(probability), reduction="none")


def _stretched(overlap: Tensor) -> Tensor:
    """(K,) how much each of an object's samples counts as background."""
    falling = (1 - overlap.square()) / 0.75
    low, high = falling.min(), falling.max().clamp(max=1)
    return torch.where(overlap < 0.5, 1.0, ((falling - low + TINY) / (high - low + TINY)).clamp(0, 1))


def task_aligned(predictions: Predictions, targets: Targets, top: int = 10) -> Tensor:
    """YOLOv8's assignment, matrices (B, M, N), with its binary cross entropy and CIoU loss."""
    boxes, mask = targets.boxes, targets.mask
    inside = side_distances(predictions.points, boxes[:, :, None]).amin(-1) > 1e-9  # (B, M, N)
    inside &= mask[..., None]
    probability = predictions.logits.detach().sigmoid().transpose(1, 2)  # (B, C, N)
    score = probability.gather(1, targets.labels[..., None].expand(-1, -1, probability.shape[-1]))
    overlap = ciou(predictions.boxes.detach()[:, None], boxes[:, :, None]).clamp(min=0) * inside
    metric = score.sqrt() * overlap**6 * inside
    chosen = torch.zeros_like(inside).scatter_(-1, metric.topk(top, -1).indices, True) & inside
    contested = chosen.sum(1, keepdim=True) > 1
    best = one_hot(overlap.argmax(1), boxes.shape[1]).transpose(1, 2).bool()
    chosen = torch.where(contested, best, chosen)
    metric, overlap = metric * chosen, overlap * chosen
    wanted = metric * overlap.amax(-1, keepdim=True) / (metric.amax(-1, keepdim=True) + 1e-9)  # (B, M, N)
    strength, owner = wanted.amax(1), chosen.to(torch.uint8).argmax(1)  # (B, N) twice
    classes = one_hot(targets.labels.gather(1, owner), predictions.logits.shape[-1]) * strength[..., None]
    total = strength.sum().clamp(min=1)
    loss = 0.5 * binary_cross_entropy_with_logits(predictions.logits, classes.to(predictions.logits), reduction="sum")
    held = chosen.any(1)
    pairs = boxes.gather(1, owner[..., None].expand(-1, -1, 4))[held]
    return (loss + 7.5 * (strength[held] * (1 - ciou(predictions.boxes[held], pairs))).sum()) / total


def optimal_transport(predictions: Predictions, targets: Targets, rounds: int = 50, eps: float = 0.1) -> Tensor:
    """OTA's assignment, a cost (M, N, C) summed over classes, fifty rounds of Sinkhorn, focal and GIoU loss."""
    loss, positives = 0.0, 0
    for image in range(len(predictions.logits)):
        boxes, labels = targets.boxes[image][targets.mask[image]], targets.labels[image][targets.mask[image]]
        logits, predicted = predictions.logits[image], predictions.boxes[image]
        with torch.no_grad():
            owner = _transported(logits, predicted, boxes, labels, predictions, rounds, eps)  # (N,), M for background
        held = owner < len(boxes)
        wanted = torch.zeros_like(logits)
        wanted[held] = one_hot(labels[owner[held]], logits.shape[1]).to(wanted)
        loss = loss + _focal(logits, wanted).sum() + 2 * (1 - giou(predicted[held], boxes[owner[held]])).sum()
        positives += int(held.sum())
    return loss / max(positives, 1)


def _transported(
    logits: Tensor, predicted: Tensor, boxes: Tensor, labels: Tensor, predictions: Predictions, rounds: int, eps: float
) -> Tensor:
    inside = side_distances(predictions.points, boxes[:, None]).amin(-1) > 0.01  # (M, N)
    near = (predictions.points - center(boxes)[:, None]).abs().amax(-1) < 2.5 * predictions.strides
    candidates = inside & near
    wanted = one_hot(labels, logits.shape[1])[:, None].expand(-1, len(logits), -1).to(logits)
    classes = _focal(logits.expand(len(boxes), -1, -1), wanted).sum(-1)
    overlap = iou(predicted, boxes[:, None])
    cost = classes - 1.5 * overlap.clamp(min=1.2e-7).log() + 1e6 * ~candidates
    background = _focal(logits, torch.zeros_like(logits)).sum(-1)
    cost = torch.cat([cost, background[None]])
    supply = (overlap * candidates).topk(20, 1).values.sum(1).int().clamp(min=1).to(logits)
    supply = torch.cat([supply, len(logits) - supply.sum(keepdim=True, dim=0)])
    rows, columns = torch.ones_like(supply), torch.ones_like(cost[0])
    for _ in range(rounds):
        columns = eps * (1e-8 - torch.logsumexp((rows[:, None] + columns - cost) / eps, 0)) + columns
        rows = eps * ((supply + 1e-8).log() - torch.logsumexp((rows[:, None] + columns - cost) / eps, 1)) + rows
    plan = ((rows[:, None] + columns - cost) / eps).exp()
    return (plan / plan.amax(1, keepdim=True)).argmax(0)


def _focal(logits: Tensor, wanted: Tensor) -> Tensor:
    probability = logits.sigmoid()
    miss = wanted * (1 - probability) + (1 - wanted) * probability
    share = 0.25 * wanted + 0.75 * (1 - wanted)
    return share * miss.square() * binary_cross_entropy_with_logits(logits, wanted, reduction="none")


DENSE_FORMS = {
    "dw": dual_weighting,
    "dw_original": partial(dual_weighting, last=True),
    "tal_v8": task_aligned,
    "ota": optimal_transport,
}
"""Functions (predictions, targets) -> the loss, a scalar."""
