"""AutoAssign and FreeAnchor: every object learns as a bag, whose samples settle among themselves who answers."""

from __future__ import annotations

from typing import Any

from ..assigner import Assigner
from ..matching import CenterPrior, TopIoU
from ..registry import ASSIGNERS
from ..scores import Sigmoid, SigmoidObjectness
from ..weighting import Bag, mean_max_bag


@ASSIGNERS.register("autoassign")
def autoassign(num_classes: int, guarantee: int = 9, weighting: dict[str, Any] | None = None) -> Assigner:
    """AutoAssign (arXiv 2007.03496): a learned centre prior x bags over sigmoid x objectness.

    Other than its code, an object without a point inside learns from the nearest points, its negatives do not depend on the
    order of objects, and the centre term is bounded; `autoassign_original` has none of that.

    Args:
        num_classes: C.
        guarantee: as of `CenterPrior`.
        weighting: arguments of `Bag`.
    """
    matching = CenterPrior(num_classes, sigma=1.0, learnable=True, guarantee=guarantee)
    return Assigner(matching, Bag(**(weighting or {})), SigmoidObjectness(), num_classes=num_classes)


@ASSIGNERS.register("autoassign_original")
def autoassign_original(num_classes: int, guarantee: int = 0) -> Assigner:
    """AutoAssign as its code and mmdet's compute it, order dependence included; for parity with the original only.

    Args:
        num_classes: C.
        guarantee: 9 is mmdet's `force_topk`.
    """
    original = {"conflict": "last", "least_score": 0.0, "missing": 100.0}
    return autoassign(num_classes, guarantee, original)


@ASSIGNERS.register("free_anchor")
def free_anchor(num_classes: int, k: int = 50, prior_scale: float = 4.0, distance: Any = None) -> Assigner:
    """FreeAnchor (arXiv 1909.02466): a bag of the k anchors that overlap an object most x mean-max.

    Heads without anchors have one square per point. Other than the original, a batch without objects is no spike (its
    negatives are divided by one bag's pairs, not by 1), equal IoUs are settled by nearness, and counts are averaged over ranks.

    Args:
        num_classes: C.
        k: anchors of a bag.
        prior_scale: side of the squares, in strides.
        distance: of boxes; None is the smooth L1 of deltas from the anchor.
    """
    distance = distance or {"type": "delta", "prior_scale": prior_scale}
    weighting = mean_max_bag(distance=distance, negative_floor=k)
    return Assigner(TopIoU(k, prior_scale), weighting, Sigmoid(), num_classes=num_classes)


@ASSIGNERS.register("free_anchor_original")
def free_anchor_original(num_classes: int, k: int = 50, prior_scale: float = 4.0) -> Assigner:
    """FreeAnchor with the original's spike of a batch without objects; for parity only."""
    weighting = mean_max_bag(distance={"type": "delta", "prior_scale": prior_scale}, negative_floor=1.0)
    return Assigner(TopIoU(k, prior_scale), weighting, Sigmoid(), num_classes=num_classes)
