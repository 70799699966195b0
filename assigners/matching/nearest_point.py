"""Nearest-point matching: each object takes the points nearest to its centre, on the level of its size (RepPoints)."""

from __future__ import annotations

import torch
from torch import Tensor

from ..boxes import area, center, sides
from ..checks import check_count
from ..registry import MATCHINGS
from ..structures import Matches, Predictions, Targets
from .pairs import inside_ignored, keep_best_target, prior_boxes, real_pairs, target_chunks, with_ignored

LEAST_SIDE = 1e-6


@MATCHINGS.register("nearest_point")
class NearestPoint:
    """The k points of an object's level that are nearest to its centre, in parts of its sides (arXiv 1904.11490, section 3.3).

    Levels go by whole powers of two of the stride; that of an object by those of its width and height over `scale`, their mean,
    or the nearest that there is. An object without area has none. A point that several objects take goes to the one that it
    is nearest to.

    Args:
        k: points of each object.
        scale: an object of so many strides in size belongs to that stride.
        ignore_threshold: share of a sample's cell in an ignore region from which it is not pushed down; 0 switches off.

    Raises:
        ValueError: for a k below 1.
    """

    cardinality = "one-to-many"
    needs = frozenset({"points", "strides"})

    def __init__(self, k: int = 1, scale: float = 4.0, ignore_threshold: float = 0.5) -> None:
        check_count("k", k, 1)
        self.k = k
        self.scale = scale
        self.ignore_threshold = ignore_threshold

    @torch.no_grad()
    def __call__(self, predictions: Predictions, targets: Targets) -> Matches:
        parts = [self._of(chunk, predictions, targets) for chunk in target_chunks(predictions, targets)]
        image, sample, target, distance = (torch.cat(column) for column in zip(*parts, strict=True))
        matches = Matches(image, sample, target, torch.ones_like(distance))
        matches = keep_best_target(matches, -distance, predictions, targets)
        return with_ignored(matches, inside_ignored(prior_boxes(predictions, 1.0), targets, self.ignore_threshold))

    def _of(self, chunk: slice, predictions: Predictions, targets: Targets) -> tuple[Tensor, ...]:
        """Image, sample, target and distance (P,) of the pairs of some targets."""
        boxes, real = targets.boxes[:, None, chunk], real_pairs(predictions, targets)[..., chunk]
        gap = (self._level(predictions, boxes)).masked_fill(~real, torch.inf)
        offset = (predictions.all_points[:, :, None] - center(boxes)) / sides(boxes).clamp(min=LEAST_SIDE)
        distance = offset.square().sum(-1).sqrt().masked_fill(gap > gap.amin(1, keepdim=True), torch.inf)
        distance = distance.masked_fill(~real | (area(boxes) <= 0), torch.inf).expand(*predictions.logits.shape[:2], -1)
        nearest = distance.topk(min(self.k, distance.shape[1]), dim=1, largest=False)
        image, rank, target = nearest.values.isfinite().nonzero(as_tuple=True)
        at = image, rank, target
        return image, nearest.indices[at], target + chunk.start, nearest.values[at]

    def _level(self, predictions: Predictions, boxes: Tensor) -> Tensor:
        """(1 or B, N, m) how many levels each sample's is away from each target's."""
        own = predictions.all_strides.log2().trunc()[:, :, None]
        wanted = (sides(boxes).clamp(min=LEAST_SIDE) / self.scale).log2().mean(-1).trunc()
        return (own - wanted).abs()
