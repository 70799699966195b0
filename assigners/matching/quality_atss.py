"""Adaptive selection by what is predicted: of each object's best samples per level those above mean + deviation.

The auxiliary labels of DeFCN (arXiv 2012.03544, section 3.4): ATSS (arXiv 1912.02424) with the quality of predictions both
as nearness and in the place of the anchors' IoU.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..boxes import iou, side_distances
from ..checks import check_count, check_share
from ..registry import MATCHINGS, SCORES
from ..scores import Scores
from ..structures import Matches, Predictions, Targets
from .atss import mean_plus_deviation
from .pairs import inside_ignored, prior_boxes, settle_conflicts, target_chunks, with_ignored


@MATCHINGS.register("quality_atss")
class QualityATSS:
    """Of the k samples per level of largest P^(1 - alpha) IoU^alpha those of mean + deviation at least that lie in the box.

    A sample of several objects goes to the one it is best for. Mean and (unbiased) standard deviation are over an object's
    samples of all levels. Differs from DeFCN's code: a pair of quality 0 is no pair; a level of fewer than k samples gives
    all, and an image without objects none, where it raises.

    Args:
        k: samples per object and level.
        alpha: power of the IoU, 1 - alpha that of P.
        ignore_threshold: share of a sample's cell in an ignore region from which it is not pushed down; 0 switches off.
        score: the score model that P comes from; an assigner offers its own, None is a sigmoid.

    Raises:
        ValueError: for a k below 1 and an alpha outside [0, 1].
    """

    cardinality = "one-to-many"

    def __init__(self, k: int = 9, alpha: float = 0.8, ignore_threshold: float = 0.5, score: Any = None) -> None:
        check_count("k", k, 1)
        check_share("alpha", alpha)
        self.k = k
        self.alpha = alpha
        self.ignore_threshold = ignore_threshold
        self.score = SCORES.build("sigmoid" if score is None else score)

    @property
    def needs(self) -> frozenset[str]:
        """Points, the strides of their cells and levels, and what the score model needs."""
        return frozenset({"points", "strides", "level_sizes"}) | self.score.needs

    @torch.no_grad()
    def __call__(self, predictions: Predictions, targets: Targets) -> Matches:
        scores = self.score(predictions)
        chunks = target_chunks(predictions, targets)
        parts = [self._best(predictions, targets, scores, part) for part in chunks]
        sample, quality = (torch.cat(column, 1) for column in zip(*parts, strict=True))  # (B, M, K) twice
        usable = targets.mask[..., None] & (quality >= 0)
        image = torch.arange(len(sample), device=sample.device)[:, None, None].expand_as(sample)
        inside = side_distances(predictions.points_at(image, sample), targets.boxes[:, :, None]).amin(-1) > 0
        positive = usable & inside & (quality > 0) & (quality >= mean_plus_deviation(quality, usable))

        target = torch.arange(sample.shape[1], device=sample.device)[:, None].expand_as(sample)
        candidates = Matches(image.flatten(), sample.flatten(), target.flatten(), quality.flatten())
        matches = candidates.select(
            settle_conflicts(candidates, positive.flatten(), candidates.score, predictions, targets)
        )
        ignored = inside_ignored(prior_boxes(predictions, 1.0), targets, self.ignore_threshold)
        return with_ignored(matches, ignored)

    def _best(self, predictions: Predictions, targets: Targets, scores: Scores, part: slice) -> tuple[Tensor, Tensor]:
        """(B, m, K) the samples of largest quality on every level, of the targets of a part, and their quality."""
        quality = self._quality(predictions, targets, scores, part)
        start, samples = 0, []
        for level in quality.split(predictions.level_sizes or (quality.shape[-1],), -1):
            samples.append(level.topk(min(self.k, level.shape[-1])).indices + start)
            start += level.shape[-1]
        chosen = torch.cat(samples, -1)
        return chosen, quality.gather(-1, chosen)

    def _quality(self, predictions: Predictions, targets: Targets, scores: Scores, part: slice) -> Tensor:
        """(B, m, N) quality of every sample for the targets of a part, 0 where it is no number, -1 outside its image."""
        images, samples = predictions.logits.shape[:2]
        image = torch.arange(images, device=targets.boxes.device)[:, None, None]
        every = Matches(image, torch.arange(samples, device=image.device), image, image)
        labels = torch.where(targets.mask, targets.labels, 0)[:, part, None]  # padding may hold any label
        overlap = iou(predictions.boxes[:, None], targets.boxes[:, part, None]).clamp(0, 1)
        quality = scores.log_present(every, labels).mul(1 - self.alpha).exp() * overlap**self.alpha
        quality = quality.nan_to_num(nan=0.0)
        return quality if predictions.valid is None else quality.masked_fill(~predictions.valid[:, None], -1)
