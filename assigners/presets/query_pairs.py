"""Query detectors in which an object may have many queries, or boxes learn from more pairs than classes, from DETA to DEIM."""

from __future__ import annotations

from typing import Literal

from ..assigner import Assigner
from ..matching import Hungarian, OnPriors, Thresholded, Union
from ..registry import ASSIGNERS
from ..weighting import focal, ia_bce, mal, varifocal
from .detr import of_queries, usual_costs


@ASSIGNERS.register("deta")
def deta(
    num_classes: int,
    threshold: float = 0.6,
    k: int = 4,
    limit: float | None = 0.25,
    class_scale: float = 1.0,
) -> Assigner:
    """DETA (arXiv 2212.06137): queries whose first boxes overlap an object, at most 4, x focal; loss weights 1, 5, 2.

    All layers have the pairs of the boxes that the decoder starts from, and all losses are divided by the number of objects.
    The encoder's proposals go by anchors above a higher threshold: `{"type": "deta", "encoder": "deta(threshold=0.7,
    limit=128)"}`. What differs from the authors' code, and how to have it, is said at the matching, `Thresholded`.

    Args:
        num_classes: C.
        threshold, k, limit: as of `Thresholded`.
        class_scale: weight of the class terms of the loss.
    """
    matching = OnPriors(Thresholded(threshold, k, limit=limit), once=True)
    return of_queries(num_classes, matching, focal(class_scale=class_scale, count="targets_once"))


@ASSIGNERS.register("ms")
def ms(
    num_classes: int,
    threshold: float = 0.4,
    k: int = 6,
    class_weight: float = 0.3,
    limit: float | None = 0.25,
    class_scale: float = 2.0,
) -> Assigner:
    """MS-DETR (arXiv 2401.03989), one to many: queries that overlap an object and know it, at most 6, x focal; weights 2, 5, 2.

    For a second output of the queries, beside `deformable_detr(class_scale=1)`. In the authors' code a query that two objects
    take learns both boxes; there is more at the matching, `Thresholded`. Losses are divided by the number of objects.

    Args:
        num_classes: C.
        threshold, k, class_weight, limit: as of `Thresholded`.
        class_scale: weight of the class terms of the loss.
    """
    matching = Thresholded(threshold, k, class_weight, "one", limit=limit)
    return of_queries(num_classes, matching, focal(class_scale=class_scale, count="targets_once"))


@ASSIGNERS.register("dac")
def dac(
    num_classes: int,
    threshold: float = 0.4,
    k: int = 6,
    class_weight: float = 0.3,
    limit: float | None = 0.25,
    rank_decay: float = 1.5,
    balance: float = 3.0,
    conflict: Literal["best", "all", "class_of_best", "class_of_last"] = "best",
) -> Assigner:
    """DAC-DETR (NeurIPS 2023), auxiliary decoder: queries as in `ms` x IoU-aware cross entropy by rank; weights 1, 5, 2.

    For a way of the queries on which they do not see each other, beside `lw`. The authors' code limits an image to 75 positives
    and measures the other decoder's boxes; here they are a share of the queries and their own. A query that several objects
    take learns the best of them; in that code it learns the classes and boxes of all, `conflict="all"`.

    Args:
        num_classes: C.
        threshold, k, class_weight, limit: as of `Thresholded`.
        rank_decay: as of `SoftTarget`.
        balance: losses are divided by so many times the number of objects.
        conflict: as of `Thresholded`.
    """
    matching = Thresholded(threshold, k, class_weight, "one", limit=limit, conflict=conflict)
    scale = 1 / balance
    weighting = ia_bce(rank_decay=rank_decay, count="targets_once", class_scale=scale, box_scale=scale)
    return of_queries(num_classes, matching, weighting)


@ASSIGNERS.register("d_fine")
def d_fine(num_classes: int, alpha: float = 0.75, gamma: float = 2.0) -> Assigner:
    """D-FINE (arXiv 2410.13842): `vfl` whose boxes learn from the pairs of all layers, by their number; weights 1, 5, 2.

    What differs from the authors' code is said at the matching, `Union`. Its losses of distributions are not here.

    Args:
        num_classes: C.
        alpha, gamma: as of `varifocal`.
    """
    boxes = {"box_weight": "one", "box_scale": 1.0, "box_count": "weights"}
    return _united(num_classes, varifocal(alpha, gamma, detach=True, count="targets", **boxes))


@ASSIGNERS.register("deim")
def deim(num_classes: int, gamma: float = 1.5, alpha: float = 1.0) -> Assigner:
    """DEIM (arXiv 2412.04234): `mal` whose boxes learn from the pairs of all layers, by their number; weights 1, 5, 2.

    Args:
        num_classes: C.
        gamma, alpha: as of the weighting `mal`.
    """
    return _united(num_classes, mal(gamma, alpha, box_count="weights"))


def _united(num_classes: int, weighting: object) -> Assigner:
    return of_queries(num_classes, Union(Hungarian(usual_costs())), weighting)
