"""FCOS matching: a point answers for the smallest object whose centre region holds it and whose size fits its level.

FCOS (arXiv 1904.01355) sections 3.2-3.3; centre sampling from the journal version (arXiv 2006.09214).
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..boxes import area, center, side_distances
from ..registry import MATCHINGS
from ..structures import BACKGROUND, Matches, Predictions, Targets
from .pairs import inside_ignored, matches_from_target, prior_boxes, real_pairs


@MATCHINGS.register("center_sampling")
class CenterSampling:
    """FCOS matching with regression ranges.

    Args:
        radius: half side of the centre region in strides, or None to accept every point inside the box.
        ranges: (low, high) per level for the largest side distance, pixels, ends included; None derives them:
            each level reaches to `range_scale` of its strides, the last without limit, which for strides 8 … 128 is
            FCOS's 64, 128, 256, 512, infinity.
        range_scale: see ranges.
        ignore_threshold: a point whose stride-sized square lies in an ignore region by more than this share is ignored.
    """

    cardinality = "one-to-many"
    needs = frozenset({"points", "strides", "level_sizes"})

    def __init__(
        self,
        radius: float | None = 1.5,
        ranges: list[tuple[float, float]] | None = None,
        range_scale: float = 8.0,
        ignore_threshold: float = 0.5,
    ) -> None:
        self.radius = radius
        self.ranges = ranges
        self.range_scale = range_scale
        self.ignore_threshold = ignore_threshold

    def __call__(self, predictions: Predictions, targets: Targets) -> Matches:
        points, boxes = predictions.points[:, None], targets.boxes[:, None]  # (N, 1, 2), (B, 1, M, 4)
        distances = side_distances(points.expand(-1, boxes.shape[2], -1), boxes)  # (B, N, M, 4)
        largest = distances.amax(-1)
        low, high = self._ranges(predictions)
        allowed = self._inside(predictions, boxes, distances) & (largest >= low[:, None]) & (largest <= high[:, None])
        allowed &= real_pairs(predictions, targets)

        areas = torch.where(allowed, area(boxes), torch.inf)  # (B, N, M)
        ignored = inside_ignored(prior_boxes(predictions, 1.0), targets, self.ignore_threshold)
        return matches_from_target(_smallest(areas), ignored=ignored)

    def _inside(self, predictions: Predictions, boxes: Tensor, distances: Tensor) -> Tensor:
        inside = distances.amin(-1) > 0
        if self.radius is None:
            return inside
        offset = (predictions.points[:, None] - center(boxes)).abs().amax(-1)  # (B, N, M)
        return inside & (offset < self.radius * predictions.strides[:, None])

    def _ranges(self, predictions: Predictions) -> tuple[Tensor, Tensor]:
        """(N,), (N,) lower and upper limit of every sample's level."""
        sizes = torch.tensor(predictions.level_sizes, device=predictions.points.device)
        if self.ranges is None:
            return _derived_ranges(predictions, self.range_scale)
        if len(self.ranges) != len(sizes):
            raise ValueError(f"ranges: expected one pair per level ({len(sizes)}), got {len(self.ranges)}")
        limits = predictions.points.new_tensor(self.ranges)
        return tuple(limits.repeat_interleave(sizes, dim=0, output_size=sum(predictions.level_sizes)).unbind(1))


def _derived_ranges(predictions: Predictions, scale: float) -> tuple[Tensor, Tensor]:
    upper = scale * predictions.strides
    sizes = predictions.level_sizes
    low, high = upper.clone(), upper.clone()
    first, last = sizes[0], sizes[-1]
    high[len(high) - last :] = torch.inf
    starts = _starts(sizes)
    for level in range(1, len(sizes)):  # levels, not samples: at most a handful
        low[starts[level] : starts[level] + sizes[level]] = upper[starts[level - 1]]
    low[:first] = -torch.inf
    return low, high


def _starts(sizes: tuple[int, ...]) -> list[int]:
    return [sum(sizes[:level]) for level in range(len(sizes))]


def _smallest(areas: Tensor) -> Tensor:
    """(B, N) index of the smallest area (B, N, M), BACKGROUND where all are infinite or there are none."""
    if areas.shape[-1] == 0:
        return areas.new_full(areas.shape[:2], BACKGROUND, dtype=torch.long)
    smallest, index = areas.min(-1)
    return torch.where(smallest.isfinite(), index, BACKGROUND)
