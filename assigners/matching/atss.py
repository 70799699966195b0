"""ATSS matching: an IoU threshold for every object, from the statistics of its nearest anchors.

ATSS (arXiv 1912.02424), algorithm 1. The alternative quality, class score and predicted IoU mixed, is DDOD's
(arXiv 2107.02963).
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..boxes import center, iou, side_distances, squared_distances
from ..registry import MATCHINGS
from ..structures import Matches, Predictions, Targets
from .pairs import (
    inside_ignored,
    keep_best_target,
    prior_boxes,
    prior_boxes_at,
    target_chunks,
    with_ignored,
)

FAR = 1e16  # squared distance of an ignored anchor: chosen only when a level has too few others


@MATCHINGS.register("atss")
class ATSS:
    """Adaptive training sample selection.

    Args:
        k: candidates per target and level, the anchors with the nearest centres.
        prior_scale: side of the square anchors in strides, when the predictions have no anchor boxes.
        alpha: None takes the anchors' IoU as quality; a number mixes P^(1 - alpha) * IoU^alpha of the predictions.
        margin: least distance in pixels of a positive's centre from the sides of the box.
        ignore_threshold: share of an anchor in an ignore region from which it is neither; 0 switches off.
    """

    cardinality = "one-to-many"
    needs = frozenset({"points", "strides", "level_sizes"})

    def __init__(
        self,
        k: int = 9,
        prior_scale: float = 8.0,
        alpha: float | None = None,
        margin: float = 0.01,
        ignore_threshold: float = 0.5,
    ) -> None:
        self.k = k
        self.prior_scale = prior_scale
        self.alpha = alpha
        self.margin = margin
        self.ignore_threshold = ignore_threshold

    def __call__(self, predictions: Predictions, targets: Targets) -> Matches:
        priors = prior_boxes(predictions, self.prior_scale)
        ignored = inside_ignored(priors, targets, self.ignore_threshold)
        candidates, usable = self._candidates(priors, predictions, targets, ignored)  # (B, M, K) twice
        quality = self._quality(priors, candidates, predictions, targets)

        threshold = mean_plus_deviation(quality, usable)
        centers = center(prior_boxes_at(priors, *_of_images(candidates)))
        inside = side_distances(centers, targets.boxes[:, :, None]).amin(-1) > self.margin
        positive = usable & (quality >= threshold) & inside

        image, target, rank = positive.nonzero(as_tuple=True)
        score = quality[image, target, rank]
        matches = Matches(image, candidates[image, target, rank], target, score)
        return with_ignored(keep_best_target(matches, score, predictions, targets), ignored)

    def _candidates(
        self, priors: Tensor, predictions: Predictions, targets: Targets, ignored: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The k nearest samples of each level, (B, M, K), and which of them exist."""
        chunks = target_chunks(predictions, targets)
        parts = [self._nearest(priors, targets.boxes[:, part], predictions, ignored) for part in chunks]
        candidates, exist = (torch.cat(column, 1) for column in zip(*parts, strict=True))
        return candidates, exist & targets.mask[..., None]

    def _nearest(
        self, priors: Tensor, boxes: Tensor, predictions: Predictions, ignored: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The k nearest samples of each level to boxes (B, m, 4), and which are valid, (B, m, K) twice."""
        start, chosen, exist = 0, [], []
        for size in predictions.level_sizes or (priors.shape[1],):
            level = slice(start, start + size)
            distance = squared_distances(center(boxes), center(priors[:, level]))
            if ignored is not None:
                distance = torch.where(ignored[:, None, level], FAR, distance)
            if predictions.valid is not None:
                distance = torch.where(predictions.valid[:, None, level], distance, torch.inf)
            nearest = distance.topk(min(self.k, size), largest=False)
            chosen.append(nearest.indices + start)
            exist.append(nearest.values.isfinite())
            start += size
        return torch.cat(chosen, -1), torch.cat(exist, -1)

    def _quality(self, priors: Tensor, candidates: Tensor, predictions: Predictions, targets: Targets) -> Tensor:
        """(B, M, K) what a candidate is judged by."""
        boxes = targets.boxes[:, :, None]
        if self.alpha is None:
            return iou(prior_boxes_at(priors, *_of_images(candidates)), boxes)
        images, _ = _of_images(candidates)
        labels = torch.where(targets.mask, targets.labels, 0)[..., None]  # padding may hold any label
        score = predictions.logits[images, candidates, labels].detach().sigmoid()
        overlap = iou(predictions.boxes.detach()[images, candidates], boxes)
        return (score ** (1 - self.alpha) * overlap**self.alpha).nan_to_num(nan=0.0)


def _of_images(candidates: Tensor) -> tuple[Tensor, Tensor]:
    """The images (B, 1, 1) that candidates (B, M, K) are of, and the candidates."""
    return torch.arange(len(candidates), device=candidates.device)[:, None, None], candidates


def mean_plus_deviation(values: Tensor, usable: Tensor) -> Tensor:
    """Mean plus unbiased standard deviation over the usable entries of the last axis, (B, M, K) -> (B, M, 1)."""
    count = usable.sum(-1, keepdim=True)
    mean = torch.where(usable, values, 0).sum(-1, keepdim=True) / count.clamp(min=1)
    variance = torch.where(usable, (values - mean) ** 2, 0).sum(-1, keepdim=True) / (count - 1).clamp(min=1)
    return mean + variance.sqrt()
