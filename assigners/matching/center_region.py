"""Centre-region matching: cells that meet an object's core answer, what surrounds it is spared (FSAF)."""

from __future__ import annotations

import torch
from torch import Tensor

from ..boxes import area, center, covered_share, sides, strictly_inside
from ..checks import check_positive
from ..needs import required
from ..registry import MATCHINGS
from ..structures import Matches, Predictions, Targets
from .pairs import inside_ignored, prior_boxes, real_pairs, settle_conflicts, target_chunks, with_ignored
from .spared import parted


@MATCHINGS.register("center_region")
class CenterRegion:
    """Cells whose middle lies in the box and that meet its core; of several objects the smallest takes a cell.

    FSAF (arXiv 1903.00621, section 3.1), as mmdet's CenterRegionAssigner. Core and surroundings are the box shrunk about its
    centre. The class of an object that a cell met, but does not learn, is not pushed down there: the classes of larger objects
    in a contested cell, and of those of which it meets the surroundings alone. An object of which no cell
    holds enough has none.

    Args:
        core: shrinks the sides of the core.
        surroundings: shrinks the sides of what is spared around the core, at least as large as that; None is the core, which
            spares cells that meet it with their middle outside the box.
        least_share: share of a cell that must be covered, exclusive.
        foreground_dominates: a cell learns its object's class although another object of that class would have it spared;
            False spares it, so that nobody learns a cell that two objects of one class contest (mmdet).
        prior_scale: side of the cells, in strides, on heads without anchors.
        ignore_threshold: share of a cell in an ignore region from which it is not pushed down; 0 switches off.
        ignore_scale: cells whose middle lies in an ignore region shrunk so learn nothing at all, instead (mmdet 0.5); None is
            by the threshold.

    Raises:
        ValueError: for a core that is not positive, and surroundings that are smaller.
    """

    cardinality = "one-to-many"
    needs = frozenset({"points", "strides"})
    waits = 2  # for the cells that objects meet, and for those that learn

    def __init__(
        self,
        core: float = 0.2,
        surroundings: float | None = None,
        least_share: float = 0.01,
        foreground_dominates: bool = True,
        prior_scale: float = 1.0,
        ignore_threshold: float = 0.5,
        ignore_scale: float | None = None,
    ) -> None:
        check_positive("core", core)
        surroundings = core if surroundings is None else surroundings
        if not surroundings >= core:
            raise ValueError(f"surroundings: expected at least the core's {core}, got {surroundings!r}")
        self.core = core
        self.surroundings = surroundings
        self.least_share = least_share
        self.foreground_dominates = foreground_dominates
        self.prior_scale = prior_scale
        self.ignore_threshold = ignore_threshold
        self.ignore_scale = ignore_scale

    @torch.no_grad()
    def __call__(self, predictions: Predictions, targets: Targets) -> Matches:
        cells = prior_boxes(predictions, self.prior_scale)
        ignored = self._ignored(cells, targets)
        met, in_core = self._met(cells, ignored, predictions, targets)
        learns = settle_conflicts(met, in_core, -area(met.target_boxes(targets)), predictions, targets)
        if not self.foreground_dominates:
            learns = learns & ~_shared_class(met, learns, predictions, targets)
        return with_ignored(parted(met, learns, targets), ignored)

    def _met(
        self, cells: Tensor, ignored: Tensor | None, predictions: Predictions, targets: Targets
    ) -> tuple[Matches, Tensor]:
        """The pairs of cells with objects whose core or surroundings they meet, and which meet the core (P,)."""
        real, middles, parts = real_pairs(predictions, targets), center(cells)[:, :, None], []
        if ignored is not None and self.ignore_scale is not None:
            real = real & ~ignored[..., None]
        for chunk in target_chunks(predictions, targets):
            boxes = targets.boxes[:, None, chunk]
            met = self._meets(cells, boxes, self.core)
            in_core = met & strictly_inside(middles, boxes)
            if self.surroundings > self.core:
                met = self._meets(cells, boxes, self.surroundings)
            met = (met & real[..., chunk]).expand(*predictions.logits.shape[:2], -1)
            image, sample, target = met.nonzero(as_tuple=True)
            inside = in_core.expand_as(met)[image, sample, target]
            parts.append((image, sample, target + chunk.start, inside))
        image, sample, target, inside = (torch.cat(column) for column in zip(*parts, strict=True))
        return Matches(image, sample, target, torch.ones_like(image, dtype=targets.boxes.dtype)), inside

    def _meets(self, cells: Tensor, boxes: Tensor, scale: float) -> Tensor:
        """(B, N, m) whether more than the least share of each cell lies in each box (B, 1, m, 4), shrunk."""
        return covered_share(cells[:, :, None], shrunk(boxes, scale)) > self.least_share

    def _ignored(self, cells: Tensor, targets: Targets) -> Tensor | None:
        if self.ignore_scale is None or targets.ignore_boxes is None:
            return inside_ignored(cells, targets, self.ignore_threshold)
        regions = shrunk(targets.ignore_boxes, self.ignore_scale)[:, None]
        real = required("ignore_mask", targets.ignore_mask)
        return (strictly_inside(center(cells)[:, :, None], regions) & real[:, None]).any(-1)


def shrunk(boxes: Tensor, scale: float) -> Tensor:
    """Boxes (..., 4) xyxy with sides of so many times their length, about the same centre.

    >>> shrunk(torch.tensor([0.0, 0.0, 10.0, 20.0]), 0.2)
    tensor([ 4.,  8.,  6., 12.])
    """
    middle, reach = center(boxes), sides(boxes) * (scale / 2)
    return torch.cat([middle - reach, middle + reach], -1)


def _shared_class(met: Matches, learns: Tensor, predictions: Predictions, targets: Targets) -> Tensor:
    """(P,) whether the object that learns each pair's sample has the class of another that the sample met."""
    slot, labels = met.image * predictions.logits.shape[1] + met.sample, met.labels(targets)
    taken = labels.new_full((predictions.logits.shape[:2].numel(),), -1)
    taken = taken.scatter_reduce(0, slot, torch.where(learns, labels, -1), "amax")
    rival = ~learns & (labels == taken[slot])
    return torch.zeros_like(taken).index_add_(0, slot, rival.long())[slot] > 0
