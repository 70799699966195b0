"""Max-IoU matching: anchors learn the object they overlap most, if enough (Faster R-CNN, RetinaNet).

Steps and thresholds as in Faster R-CNN (arXiv 1506.01497) section 3.1.2 with the "low quality" matches that let every
object keep its best anchor.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from ..checks import check_choice
from ..registry import MATCHINGS, SIMILARITIES
from ..structures import BACKGROUND, Matches, Predictions, Targets
from .pairs import inside_ignored, matches_from_target, prior_boxes, real_pairs, target_chunks


@MATCHINGS.register("max_iou")
class MaxIoU:
    """Match by the IoU of anchor boxes with targets, or by another similarity, which is then what is called IoU below.

    Args:
        positive_iou: from this IoU on, a sample is positive for the target it overlaps most.
        negative_iou: below it a sample is negative; a pair (low, high) makes it low <= IoU < high, and lower IoUs
            ignored. Between the two thresholds a sample is ignored.
        minimum_iou: a target takes its best sample too, whatever `positive_iou` says, if their IoU reaches this (and is
            not zero).
        match_low_quality: switch that rule off with False.
        all_best: take every sample that shares a target's best IoU (exact equality) rather than one.
        conflict: a sample that is the best of several targets goes to the one with which its IoU is highest
            ("best"), or to the last of the list ("last": the original's order-dependent rule); with "own" a sample that is
            the best of any goes to the target that it overlaps most itself, which may be another one (PAA).
        ignore_threshold: share of an anchor in an ignore region from which it is neither; 0 switches off.
        prior_scale: side of the squares, in strides, when the predictions have no anchor boxes.
        metric: "iou" or another of `SIMILARITIES`, such as "nwd" or "dotd" for tiny objects; a name, a dict or a callable.
    """

    cardinality = "one-to-many"
    needs = frozenset({"points", "strides"})
    waits = 1  # for its pairs

    def __init__(
        self,
        positive_iou: float = 0.5,
        negative_iou: float | tuple[float, float] = 0.4,
        minimum_iou: float = 0.0,
        match_low_quality: bool = True,
        all_best: bool = True,
        conflict: Literal["best", "last", "own"] = "best",
        ignore_threshold: float = 0.5,
        prior_scale: float = 4.0,
        metric: Any = "iou",
    ) -> None:
        check_choice("conflict", conflict, ("best", "last", "own"))
        self.positive_iou = positive_iou
        self.negative_iou = negative_iou
        self.minimum_iou = minimum_iou
        self.match_low_quality = match_low_quality
        self.all_best = all_best
        self.conflict = conflict
        self.ignore_threshold = ignore_threshold
        self.prior_scale = prior_scale
        self.metric = SIMILARITIES.build(metric)

    @property
    def scale_invariant(self) -> bool:
        """As the metric is."""
        return getattr(self.metric, "scale_invariant", True)

    @property
    def kind(self) -> tuple[Any, ...]:
        """By what it measures, whatever its thresholds."""
        return MaxIoU, type(self.metric)

    def __call__(self, predictions: Predictions, targets: Targets) -> Matches:
        priors = prior_boxes(predictions, self.prior_scale)
        crowd = inside_ignored(priors, targets, self.ignore_threshold)
        overlaps = self._overlaps(priors, predictions, targets, crowd)  # (B, N, M + 1), -1 where a pair is impossible

        highest, nearest = overlaps.max(-1)
        target = torch.where(highest >= self.positive_iou, nearest, BACKGROUND)
        if self.match_low_quality:
            claimed = self._claimed(overlaps)
            won = nearest if self.conflict == "own" else claimed
            target = torch.where(claimed == BACKGROUND, target, won)

        low, high = self.negative_iou if isinstance(self.negative_iou, tuple | list) else (0.0, self.negative_iou)
        negative = (highest >= low) & (highest < high) | ~targets.mask.any(-1, keepdim=True)
        if crowd is not None:
            negative &= ~crowd
        score = overlaps.gather(-1, target.clamp(min=0)[..., None])[..., 0]
        return matches_from_target(target, score, ignored=(target == BACKGROUND) & ~negative)

    def _overlaps(self, priors: Tensor, predictions: Predictions, targets: Targets, crowd: Tensor | None) -> Tensor:
        """IoUs and, as the last column, those with no target at all: a highest exists where there are no targets."""
        images, samples, count = *predictions.logits.shape[:2], targets.boxes.shape[1]
        result = targets.boxes.new_full((images, samples, count + 1), -1.0)
        possible = real_pairs(predictions, targets)
        if crowd is not None:
            possible = possible & ~crowd[..., None]
        for part in target_chunks(predictions, targets):
            similarity = self.metric(targets.boxes[:, None, part], priors[:, :, None])
            result[..., part] = similarity.masked_fill(~possible[..., part], -1.0)
        return result

    def _claimed(self, overlaps: Tensor) -> Tensor:
        """(B, N) the target of which a sample is the best, BACKGROUND where it is nobody's."""
        best, sample = overlaps.max(1, keepdim=True)  # (B, 1, M)
        if self.all_best:
            claims = overlaps == best
        else:
            claims = torch.arange(overlaps.shape[1], device=overlaps.device)[:, None] == sample
        claims &= (best >= self.minimum_iou) & (best > 0)  # a target that overlaps nothing would claim everything
        if self.conflict == "last":
            key = torch.arange(overlaps.shape[-1], device=overlaps.device, dtype=overlaps.dtype)
        else:
            key = overlaps
        strongest, winner = torch.where(claims, key, -1.0).max(-1)
        return torch.where(strongest >= 0, winner, BACKGROUND)
