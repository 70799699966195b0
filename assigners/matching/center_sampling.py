"""FCOS matching: a point answers for the smallest object whose centre region holds it and whose size fits its level.

FCOS (arXiv 1904.01355) sections 3.2-3.3; centre sampling from the journal version (arXiv 2006.09214).
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..boxes import area, center, side_distances
from ..registry import MATCHINGS
from ..structures import Matches, Predictions, Targets
from .pairs import inside_ignored, inside_pairs, keep_best_target, prior_boxes


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

    @property
    def scale_invariant(self) -> bool:
        """Ranges in pixels are meant for one image scale; derived ones follow the strides."""
        return self.ranges is None

    def __call__(self, predictions: Predictions, targets: Targets) -> Matches:
        image, sample, target = inside_pairs(predictions, targets)
        ignored = inside_ignored(prior_boxes(predictions, 1.0), targets, self.ignore_threshold)
        matches = Matches(image, sample, target, torch.ones_like(sample, dtype=targets.boxes.dtype), ignored)
        boxes = matches.target_boxes(targets)

        fits = self._fits_level(predictions, image, sample, boxes) & self._near_center(
            predictions, image, sample, boxes
        )
        kept = fits.nonzero()[:, 0]
        return keep_best_target(matches.select(kept), -area(boxes[kept]), predictions, targets)

    def _fits_level(self, predictions: Predictions, image: Tensor, sample: Tensor, boxes: Tensor) -> Tensor:
        """(P,) whether the largest side distance lies in the range of the sample's level."""
        low, high = self._ranges(predictions)
        largest = side_distances(predictions.points_at(image, sample), boxes).amax(-1)
        low, high = (limit.expand(len(predictions.logits), -1)[image, sample] for limit in (low, high))
        return (largest >= low) & (largest <= high)

    def _near_center(self, predictions: Predictions, image: Tensor, sample: Tensor, boxes: Tensor) -> Tensor:
        """(P,) whether the point lies in the centre region."""
        if self.radius is None:
            return torch.ones_like(sample, dtype=torch.bool)
        offset = (predictions.points_at(image, sample) - center(boxes)).abs().amax(-1)
        return offset < self.radius * predictions.strides_at(image, sample)

    def _ranges(self, predictions: Predictions) -> tuple[Tensor, Tensor]:
        """(1 or B, N) twice, lower and upper limit of every sample."""
        if self.ranges is None:
            return _derived_ranges(predictions, self.range_scale)
        sizes = predictions.level_sizes or ()
        if len(self.ranges) != len(sizes):
            raise ValueError(f"ranges: expected one pair per level ({len(sizes)}), got {len(self.ranges)}")
        limits = [
            [predictions.all_strides.new_full((1, 1), end) for end in side] for side in zip(*self.ranges, strict=True)
        ]
        low, high = (_per_sample(side, sizes) for side in limits)
        return low, high


def _per_sample(limits: list[Tensor], sizes: tuple[int, ...]) -> Tensor:
    """(1 or B, N) from one limit (1 or B, 1) per level."""
    return torch.cat([limit.expand(-1, size) for limit, size in zip(limits, sizes, strict=True)], 1)


def _derived_ranges(predictions: Predictions, scale: float) -> tuple[Tensor, Tensor]:
    """Up to `scale` strides, from where the level before ends; where there are no levels, from half of that."""
    reach, sizes = scale * predictions.all_strides, predictions.level_sizes
    if sizes is None:
        return reach / 2, reach
    levels = [level[:, :1] for level in reach.split(sizes, 1)]
    unlimited = torch.full_like(levels[0], torch.inf)
    return _per_sample([-unlimited, *levels[:-1]], sizes), _per_sample([*levels[:-1], unlimited], sizes)
