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

        fits = self._fits_level(predictions, sample, boxes) & self._near_center(predictions, sample, boxes)
        kept = fits.nonzero()[:, 0]
        return keep_best_target(matches.select(kept), -area(boxes[kept]), predictions, targets)

    def _fits_level(self, predictions: Predictions, sample: Tensor, boxes: Tensor) -> Tensor:
        """(P,) whether the largest side distance lies in the range of the sample's level."""
        low, high = self._ranges(predictions)
        largest = side_distances(predictions.points[sample], boxes).amax(-1)
        return (largest >= low[sample]) & (largest <= high[sample])

    def _near_center(self, predictions: Predictions, sample: Tensor, boxes: Tensor) -> Tensor:
        """(P,) whether the point lies in the centre region."""
        if self.radius is None:
            return torch.ones_like(sample, dtype=torch.bool)
        offset = (predictions.points[sample] - center(boxes)).abs().amax(-1)
        return offset < self.radius * predictions.strides[sample]

    def _ranges(self, predictions: Predictions) -> tuple[Tensor, Tensor]:
        """(N,), (N,) lower and upper limit of every sample's level."""
        levels = predictions.strides.split(predictions.level_sizes)
        if self.ranges is None:
            low, high = _derived_ranges(levels, self.range_scale)
        elif len(self.ranges) != len(levels):
            raise ValueError(f"ranges: expected one pair per level ({len(levels)}), got {len(self.ranges)}")
        else:
            low, high = ([levels[0].new_full((1,), limit) for limit in side] for side in zip(*self.ranges, strict=True))
        return _per_sample(low, levels), _per_sample(high, levels)


def _per_sample(limits: list[Tensor], levels: tuple[Tensor, ...]) -> Tensor:
    """(N,) from one limit (1,) per level."""
    return torch.cat([limit.expand(len(level)) for limit, level in zip(limits, levels, strict=True)])


def _derived_ranges(levels: tuple[Tensor, ...], scale: float) -> tuple[list[Tensor], list[Tensor]]:
    """Limits (1,) of each level from its samples' strides: up to `scale` strides, from where the level before ends."""
    reach = [scale * level[:1] for level in levels]
    unlimited = torch.full_like(reach[0], torch.inf)
    return [-unlimited, *reach[:-1]], [*reach[:-1], unlimited]
