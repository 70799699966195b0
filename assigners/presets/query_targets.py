"""Query detectors whose class scores are to say how well boxes fit, from RT-DETR to DDQ's dense queries."""

from __future__ import annotations

from typing import Literal

from ..assigner import Assigner
from ..matching import Hungarian
from ..registry import ASSIGNERS
from ..staged import Staged
from ..weighting import focal, giou_focal, ia_bce, mal, position_supervised, task_aligned, varifocal
from .detr import by_hungarian, usual_costs

DETREX_EPS = 1e-6  # added to union and hull of boxes as shares of the image


@ASSIGNERS.register("vfl")
def vfl(num_classes: int, alpha: float = 0.75, gamma: float = 2.0) -> Assigner:
    """RT-DETR (arXiv 2304.08069) and Relation-DETR: Hungarian x varifocal; costs 2, 5, 2 and loss weights 1, 5, 2.

    No weight carries gradient. A pair whose boxes do not meet has weight 0: it learns no class. In `d_fine` boxes
    learn from the pairs of all layers; Relation-DETR's cost has 1e-6 in its logarithms.

    Args:
        num_classes: C.
        alpha, gamma: as of `varifocal`.
    """
    weighting = varifocal(alpha, gamma, box_weight="one", box_scale=1.0, detach=True, count="targets")
    return by_hungarian(num_classes, weighting)


@ASSIGNERS.register("mal")
def mal_preset(num_classes: int, gamma: float = 1.5, alpha: float = 1.0) -> Assigner:
    """DEIM's classes (arXiv 2412.04234): Hungarian x matchability-aware loss; costs 2, 5, 2 and loss weights 1, 5, 2.

    In `deim` boxes learn from the pairs of all layers.

    Args:
        num_classes: C.
        gamma, alpha: as of the weighting `mal`.
    """
    return by_hungarian(num_classes, mal(gamma, alpha))


@ASSIGNERS.register("lw")
def lw(
    num_classes: int, score_power: float = 0.25, floor: float = 0.01, gamma: float = 2.0, eps: float = 0.0
) -> Assigner:
    """LW-DETR (arXiv 2406.03459) in one group: Hungarian x IoU-aware cross entropy; costs 2, 5, 2, loss weights 1, 5, 2.

    Logs are exact for every logit; those of the authors' code are infinite where a float32 sigmoid is 0 or 1.

    Args:
        num_classes: C.
        score_power: of P in the score that a query is to reach; the IoU has 1 − score_power.
        floor, gamma: as of `ia_bce`.
        eps: added to union and hull of boxes as shares of the image, detrex's 1e-6.
    """
    return by_hungarian(num_classes, ia_bce(score_power, 1 - score_power, floor, gamma, eps), eps=eps)


@ASSIGNERS.register("align")
def align(
    num_classes: int,
    k: int = 2,
    final_k: int = 1,
    rank_decay: float = 1.5,
    score_power: float = 0.25,
    carry: bool = False,
) -> Assigner:
    """Align-DETR (arXiv 2304.07527): k queries per object, in the last layer one, x IoU-aware cross entropy by rank.

    Costs 2, 5, 2 and loss weights 1, 5, 2. Where objects crowd an image each has fewer queries, one at least; in the authors'
    code the images behind it in its batch have as few, or none, `carry=True`. Denoising queries have no ranks: `{"type":
    "align", "denoising": "lw(eps=1e-6)"}`.

    Args:
        num_classes: C.
        k: queries per object.
        final_k: the same in the last layer.
        rank_decay: as of `SoftTarget`.
        score_power: as of `lw`.
        carry: as of `Hungarian`.
    """
    settings = {"eps": DETREX_EPS, "rank_decay": rank_decay, "count": "targets_once"}
    weighting = ia_bce(score_power, 1 - score_power, **settings)
    copies = {"copies": k, "final_copies": final_k, "share": 0.5, "carry": carry}
    return by_hungarian(num_classes, weighting, eps=DETREX_EPS, **copies)


@ASSIGNERS.register("stable")
def stable(
    num_classes: int,
    power: float = 0.5,
    score_power: float = 0.0,
    iou_power: float = 2.0,
    class_scale: float = 6.0,
    position: Literal["own", "last_of_class"] = "own",
) -> Assigner:
    """Stable-DINO (arXiv 2304.04742): Hungarian at position-modulated costs x position-supervised loss; weights 6, 5, 2.

    A pair's cost hangs on the GIoU of its own boxes; in the authors' code on that with the last object of the class in the
    batch, `position="last_of_class"`. Denoising queries have the class weight 1, `{"type": "stable", "denoising":
    "stable(class_scale=1)"}`.

    Args:
        num_classes: C.
        power, position: as of `PositionFocalCost`; power 0 is the usual cost.
        score_power, iou_power, class_scale: as of `position_supervised`.
    """
    modulated = {"type": "position_focal", "weight": 2.0, "power": power, "eps": DETREX_EPS, "position": position}
    weighting = position_supervised(score_power, iou_power, eps=DETREX_EPS, class_scale=class_scale)
    return by_hungarian(num_classes, weighting, {**usual_costs(DETREX_EPS), "focal": modulated}, DETREX_EPS)


@ASSIGNERS.register("rank")
def rank(
    num_classes: int,
    iou_power: float = 4.0,
    high_order_from: float = 0.75,
    class_scale: float = 2.0,
    by_giou: bool = True,
) -> Staged:
    """Rank-DETR (arXiv 2310.08854): Hungarian at costs 2, 5, 2 and later -P IoU^4 x GIoU-aware focal; loss weights 2, 5, 2.

    Targets are of the pairs' own boxes; in the authors' code of other objects' where objects outnumber the queries.

    Args:
        num_classes: C.
        iou_power: of the late cost.
        high_order_from: share of the training at which it takes over (step 67500 of 90000).
        class_scale: weight of the class terms.
        by_giou: False is focal loss, which the encoder's proposals have, `{"type": "rank", "encoder": "rank(by_giou=False)"}`.
    """
    high_order = {"alignment": {"score_power": 1.0, "iou_power": iou_power, "eps": DETREX_EPS}}
    scales = {"class_scale": class_scale, "count": "targets"}
    weighting = giou_focal(eps=DETREX_EPS, **scales) if by_giou else focal(**scales)
    stages = {0.0: usual_costs(DETREX_EPS), high_order_from: high_order}
    return Staged({at: by_hungarian(num_classes, weighting, costs, DETREX_EPS) for at, costs in stages.items()})


@ASSIGNERS.register("ddq_dense")
def ddq_dense(
    num_classes: int, k: int = 4, iou_power: float = 6.0, negatives: Literal["all", "with_targets"] = "all"
) -> Assigner:
    """DDQ's dense queries (arXiv 2303.12776): Hungarian with 4 queries per object x task-aligned; GIoU weight 2 and no L1.

    The cost has P = sigmoid(sigmoid(logit)) and L1 of the four sides, as mmdet's. An image without objects is background, where
    mmdet's queries learn nothing, `negatives="with_targets"`; in one with more objects than queries some have none, where mmdet
    fails.

    Args:
        num_classes: C.
        k: queries per object.
        iou_power: of the alignment.
        negatives: as of `SoftTarget`.
    """
    terms = {
        "focal": {"weight": 2.0, "eps": 1e-12, "twice": True},
        "l1": {"weight": 5.0, "layout": "xyxy"},
        "giou": 2.0,
    }
    return Assigner(Hungarian(terms, k), task_aligned(1.0, iou_power, negatives=negatives), num_classes=num_classes)
