"""PAA (arXiv 2007.08103), as its authors' code and as mmdet's compute it."""

from __future__ import annotations

from typing import Any, Literal

from ..assigner import Assigner
from ..branches import IoUBranch
from ..matching import PAA, MaxIoU
from ..registry import ASSIGNERS
from ..weighting import focal


@ASSIGNERS.register("paa")
def paa(
    num_classes: int,
    first: Any = None,
    k: int = 9,
    prior_scale: float = 8.0,
    separation: Literal["a", "b", "c", "d"] = "c",
    single_candidate: Literal["positive", "negative"] = "positive",
    strict: bool = False,
) -> Assigner:
    """PAA: candidates split by a mixture of two Gaussians x focal; boxes weighted by 1.3 IoU, an IoU branch by 0.5.

    The authors' code takes box sides as x2 - x1 + 1 where it measures IoU; here a box is as wide as x2 - x1. It raises for an
    image without objects, and divides the box loss by a sum of IoUs that may be 0; here both are defined.

    Args:
        num_classes: C.
        first, k, prior_scale, separation, single_candidate, strict: as of `PAA`.
    """
    choices = {"separation": separation, "single_candidate": single_candidate, "strict": strict}
    matching = PAA(first, k, prior_scale, **choices, num_classes=num_classes)
    weighting = focal(box_weight="iou", box_scale=1.3, box_floor=1e-6)
    return Assigner(matching, weighting, num_classes=num_classes, branch=IoUBranch(0.5))


@ASSIGNERS.register("paa_mmdet")
def paa_mmdet(num_classes: int, k: int = 9, prior_scale: float = 8.0, order_free: bool = True) -> Assigner:
    """PAA as mmdet has it: only members of the better component, an object's only candidate is background.

    Args:
        num_classes: C.
        k, prior_scale: as of `PAA`.
        order_free: an anchor that is the best of several objects goes to the one it overlaps most; False lets the last
            object of the list have it, as mmdet does, so that the loss depends on their order.
    """
    first = MaxIoU(0.1, 0.1, conflict="best" if order_free else "last", prior_scale=prior_scale)
    matching = PAA(first, k, box_scale=1.3, strict=True, single_candidate="negative")
    weighting = focal(box_weight="iou", box_scale=1.3, box_floor=1e-6, count="images")
    return Assigner(matching, weighting, num_classes=num_classes, branch=IoUBranch(0.5))
