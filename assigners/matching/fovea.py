"""Fovea matching: the points in the middle of an object, on every level whose range holds its size (FoveaBox)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..boxes import area, center, sides
from ..registry import MATCHINGS
from ..structures import Matches, Predictions, Targets
from .pairs import inside_ignored, keep_best_target, prior_boxes, real_pairs, target_chunks, with_ignored


@MATCHINGS.register("fovea")
class Fovea:
    """Points in the box shrunk to `sigma` about its centre, sides included; of several objects the smallest takes a point.

    FoveaBox (arXiv 1904.03797, section 3). An object whose shrunk box lies beyond the outermost points of a level takes these.
    The root of its area must lie in a level's range; ranges overlap, so it is learned on one or two levels.

    Args:
        sigma: shrinks both sides.
        ranges: (low, high) per level for the root of the area, pixels, ends included; None is from 2 to 8 strides, the
            first level without lower and the last without upper limit: for strides 8 … 128 FoveaBox's 1-64, 32-128, … 256-2048.
        ignore_threshold: share of a sample's cell in an ignore region from which it is not pushed down; 0 switches off.
    """

    cardinality = "one-to-many"
    needs = frozenset({"points", "strides", "level_sizes"})

    def __init__(
        self, sigma: float = 0.4, ranges: Sequence[tuple[float, float]] | None = None, ignore_threshold: float = 0.5
    ) -> None:
        self.sigma = sigma
        self.ranges = ranges
        self.ignore_threshold = ignore_threshold

    @property
    def scale_invariant(self) -> bool:
        """Ranges in pixels are meant for one image scale; derived ones follow the strides."""
        return self.ranges is None

    @torch.no_grad()
    def __call__(self, predictions: Predictions, targets: Targets) -> Matches:
        low, high = (limit[:, None] for limit in self._limits(predictions))  # (1 or B, 1, N)
        edges, parts = self._edges(predictions), []
        for chunk in target_chunks(predictions, targets):
            part = targets.part(chunk.start, chunk.stop)
            size = area(part.boxes).sqrt()[..., None]
            held = self._held(part.boxes, predictions, edges).logical_and_(size >= low).logical_and_(size <= high)
            held &= real_pairs(predictions, part).transpose(1, 2) & (size > 0)
            image, target, sample = held.nonzero(as_tuple=True)
            parts.append((image, sample, target + chunk.start))
        image, sample, target = (torch.cat(column) for column in zip(*parts, strict=True))
        matches = Matches(image, sample, target, torch.ones_like(image, dtype=targets.boxes.dtype))
        matches = keep_best_target(matches, -area(matches.target_boxes(targets)), predictions, targets)
        return with_ignored(matches, inside_ignored(prior_boxes(predictions, 1.0), targets, self.ignore_threshold))

    def _limits(self, predictions: Predictions) -> tuple[Tensor, Tensor]:
        """(1 or B, N) twice, the least and the largest size of each sample's level."""
        strides, levels = predictions.all_strides, predictions.level_sizes
        if self.ranges is not None:
            sizes = levels or ()
            if len(self.ranges) != len(sizes):
                raise ValueError(f"ranges: expected one pair per level ({len(sizes)}), got {len(self.ranges)}")
            low, high = (
                torch.cat([strides.new_full((1, size), end) for size, end in zip(sizes, side, strict=True)], 1)
                for side in zip(*self.ranges, strict=True)
            )
            return low, high
        low, high = 2 * strides, 8 * strides
        if levels is not None:
            low, high = low.clone(), high.clone()
            low[:, : levels[0]] = 0
            high[:, high.shape[1] - levels[-1] :] = torch.inf
        return low, high

    def _held(self, boxes: Tensor, predictions: Predictions, edges: tuple[Tensor, Tensor] | None) -> Tensor:
        """(B, m, N) bool, whether points lie in the middle of boxes (B, m, 4), or nearest to it on the edge of their level."""
        reach, held = self.sigma / 2 * sides(boxes), []
        for axis in range(2):
            point = predictions.all_points[:, None, :, axis]
            middle, half = center(boxes)[..., axis, None], reach[..., axis, None]
            after, before = point >= middle - half, point <= middle + half
            if edges is not None:
                after |= edges[1][:, None, :, axis]
                before |= edges[0][:, None, :, axis]
            held.append(after.logical_and_(before))
        return held[0].logical_and_(held[1])

    def _edges(self, predictions: Predictions) -> tuple[Tensor, Tensor] | None:
        """(1 or B, N, 2) bool twice, whether a point has the least and the largest coordinate of its level."""
        if predictions.level_sizes is None:
            return None
        points, ends = predictions.all_points, []
        for bound, reduce in ((torch.inf, "amin"), (-torch.inf, "amax")):
            known = points
            if predictions.valid is not None:
                known = torch.where(predictions.valid[..., None], points, bound)
            levels = [level for level in known.split(predictions.level_sizes, 1) if level.shape[1]]
            ends.append(torch.cat([getattr(level, reduce)(1, keepdim=True).expand_as(level) for level in levels], 1))
        return points <= ends[0], points >= ends[1]
