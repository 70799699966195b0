"""DETR and its family: Hungarian matching, boxes as shares of the image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..assigner import Assigner
from ..matching import Hungarian
from ..matching.hungarian import SOFTMAX_COSTS
from ..registry import ASSIGNERS
from ..scores import Sigmoid, Softmax
from ..weighting import CrossEntropy, focal


@ASSIGNERS.register("detr")
def detr(num_classes: int, costs: Mapping[str, Any] | None = None, no_object: float = 0.1) -> Assigner:
    """DETR: Hungarian x cross entropy over a softmax with background; costs 1, 5, 2 and loss weights 1, 5, 2.

    Args:
        num_classes: C.
        costs: terms of the matching cost in place of softmax 1, L1 5, GIoU 2.
        no_object: weight of the background class.
    """
    return Assigner(
        Hungarian(costs or SOFTMAX_COSTS), CrossEntropy(no_object), Softmax(), _box_terms(eps=0.0), num_classes
    )


@ASSIGNERS.register("hungarian")
def hungarian(num_classes: int, costs: Mapping[str, Any] | None = None, class_scale: float = 1.0) -> Assigner:
    """DAB-DETR, DN-DETR and DINO: Hungarian x focal; costs 2, 5, 2 and loss weights 1, 5, 2, GIoU with 1e-6 added.

    Args:
        num_classes: C.
        costs: terms of the matching cost in place of focal 2, L1 5, GIoU 2.
        class_scale: weight of the class terms of the loss.
    """
    return by_hungarian(num_classes, focal(class_scale=class_scale, count="targets"), costs, eps=1e-6)


@ASSIGNERS.register("deformable_detr")
def deformable_detr(num_classes: int, costs: Mapping[str, Any] | None = None, class_scale: float = 2.0) -> Assigner:
    """Conditional DETR and Deformable DETR: Hungarian x focal; costs 2, 5, 2 and loss weights 2, 5, 2.

    Args:
        num_classes: C.
        costs: terms of the matching cost in place of focal 2, L1 5, GIoU 2.
        class_scale: weight of the class terms of the loss.
    """
    return by_hungarian(num_classes, focal(class_scale=class_scale, count="targets"), costs)


def by_hungarian(
    num_classes: int, weighting: Any, costs: Mapping[str, Any] | None = None, eps: float = 0.0, **matching: Any
) -> Assigner:
    """Hungarian matching at costs 2, 5, 2, or others, under a weighting over sigmoids; box losses 5 and 2.

    Args:
        num_classes: C.
        weighting: the weighting.
        costs: terms of the matching cost in place of focal 2, L1 5, GIoU 2.
        eps: added to union and hull wherever there is a GIoU.
        matching: further arguments of `Hungarian`.
    """
    return of_queries(num_classes, Hungarian(costs or usual_costs(eps), **matching), weighting, eps)


def of_queries(num_classes: int, matching: Any, weighting: Any, eps: float = 0.0) -> Assigner:
    """Any matching under a weighting over sigmoids, with the family's box losses; `eps` is added to union and hull."""
    return Assigner(matching, weighting, Sigmoid(), _box_terms(eps), num_classes)


def usual_costs(eps: float = 0.0) -> dict[str, Any]:
    """The matching cost of Deformable DETR and all that came after; `eps` is added to union and hull."""
    return {"focal": 2.0, "l1": 5.0, "giou": {"weight": 2.0, "eps": eps}}


def _box_terms(eps: float) -> dict[str, Any]:
    """The box loss of DETR and its family: L1 with weight 5 and GIoU with weight 2, on shares of the image."""
    return {"relative_l1": 5.0, "relative_giou": {"weight": 2.0, "eps": eps}}
