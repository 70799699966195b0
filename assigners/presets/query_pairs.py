"""Query detectors in which an object may have many queries: DETA, and the part of MS-DETR that only trains."""

from __future__ import annotations

from ..assigner import Assigner
from ..matching import OnPriors, Thresholded
from ..registry import ASSIGNERS
from ..weighting import focal
from .detr import of_queries


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
