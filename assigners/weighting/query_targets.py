"""The members of the soft-target family that the descendants of DETR train their queries with.

A query that answers for an object is to score as high as its box fits, so that the best scored of several is the best placed.
Their classes are divided by the number of objects.
"""

from __future__ import annotations

from ..registry import WEIGHTINGS
from ..soft_targets import Alignment, GIoU, IoU, PerImage
from .common import BoxWeight, Count
from .soft_target import SoftTarget


@WEIGHTINGS.register("mal")
def mal(
    gamma: float = 1.5,
    alpha: float = 1.0,
    class_scale: float = 1.0,
    box_weight: BoxWeight = "one",
    box_scale: float = 1.0,
    count: Count = "targets",
    box_count: Count | None = None,
) -> SoftTarget:
    """Matchability-aware loss (DEIM, arXiv 2412.04234): cross entropy with IoU^gamma, to which a poor match is pushed down.

    Negatives are weighted by `alpha` P^gamma, without gradient.

    Args:
        gamma: of targets and negatives.
        alpha: weight of the negatives.
        class_scale, box_weight, box_scale, count, box_count: as of `SoftTarget`.
    """
    return SoftTarget(
        IoU(gamma),
        "none",
        gamma,
        background_scale=alpha,
        detach=True,
        class_scale=class_scale,
        box_weight=box_weight,
        box_scale=box_scale,
        count=count,
        box_count=box_count,
    )


@WEIGHTINGS.register("ia_bce")
def ia_bce(
    score_power: float = 0.25,
    iou_power: float = 0.75,
    floor: float = 0.01,
    gamma: float = 2.0,
    eps: float = 0.0,
    rank_decay: float | None = None,
    class_scale: float = 1.0,
    box_weight: BoxWeight = "one",
    box_scale: float = 1.0,
    count: Count = "targets",
) -> SoftTarget:
    """IoU-aware cross entropy (Align-DETR, arXiv 2304.07527): P^score_power IoU^iou_power is the score to reach.

    With one query per object LW-DETR's (arXiv 2406.03459); with several Align-DETR's, rank_decay 1.5 and count "targets_once".

    Args:
        score_power, iou_power, floor, eps: as of `Alignment`; detrex's eps is 1e-6.
        gamma: focal exponent of the negatives.
        rank_decay, class_scale, box_weight, box_scale, count: as of `SoftTarget`.
    """
    return SoftTarget(
        Alignment(score_power, iou_power, floor, eps=eps),
        "none",
        gamma,
        rank_decay=rank_decay,
        class_scale=class_scale,
        box_weight=box_weight,
        box_scale=box_scale,
        count=count,
    )


@WEIGHTINGS.register("position_supervised")
def position_supervised(
    score_power: float = 0.0,
    iou_power: float = 2.0,
    alpha: float = 0.25,
    gamma: float = 2.0,
    eps: float = 0.0,
    class_scale: float = 1.0,
    box_weight: BoxWeight = "one",
    box_scale: float = 1.0,
    count: Count = "targets",
) -> SoftTarget:
    """Position-supervised loss (Stable-DINO, arXiv 2304.04742): focal, to a power of the IoU that the image's best makes 1.

    Args:
        score_power, iou_power, eps: as of `Alignment`; detrex's eps is 1e-6.
        alpha: share of the positives, 1 − alpha that of the negatives.
        gamma: focal exponent.
        class_scale, box_weight, box_scale, count: as of `SoftTarget`.
    """
    return SoftTarget(
        PerImage(Alignment(score_power, iou_power, eps=eps)),
        gamma=gamma,
        matched_scale=alpha,
        background_scale=1 - alpha,
        class_scale=class_scale,
        box_weight=box_weight,
        box_scale=box_scale,
        count=count,
    )


@WEIGHTINGS.register("giou_focal")
def giou_focal(
    alpha: float = 0.25,
    gamma: float = 2.0,
    eps: float = 0.0,
    class_scale: float = 1.0,
    box_weight: BoxWeight = "one",
    box_scale: float = 1.0,
    count: Count = "targets",
) -> SoftTarget:
    """GIoU-aware focal loss (Rank-DETR, arXiv 2310.08854): the score to reach is (GIoU + 1) / 2.

    Args:
        alpha: share of the positives, 1 − alpha that of the negatives.
        gamma: focal exponent.
        eps: as of `soft_targets.GIoU`; detrex's is 1e-6.
        class_scale, box_weight, box_scale, count: as of `SoftTarget`.
    """
    return SoftTarget(
        GIoU(eps),
        gamma=gamma,
        matched_scale=alpha,
        background_scale=1 - alpha,
        class_scale=class_scale,
        box_weight=box_weight,
        box_scale=box_scale,
        count=count,
    )
