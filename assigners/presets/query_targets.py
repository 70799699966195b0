"""Query detectors whose class scores are to say how well boxes fit: RT-DETR, DEIM, LW-DETR, Stable-DINO, Rank-DETR."""

from __future__ import annotations

from typing import Literal

from ..assigner import Assigner
from ..registry import ASSIGNERS
from ..staged import Staged
from ..weighting import focal, giou_focal, ia_bce, mal, position_supervised, varifocal
from .detr import one_to_one, usual_costs

DETREX_EPS = 1e-6  # added to union and hull of boxes as shares of the image


@ASSIGNERS.register("vfl")
def vfl(num_classes: int, alpha: float = 0.75, gamma: float = 2.0) -> Assigner:
    """RT-DETR (arXiv 2304.08069), D-FINE, Relation-DETR: Hungarian x varifocal; costs 2, 5, 2 and loss weights 1, 5, 2.

    No weight carries gradient. A pair whose boxes do not meet has weight 0: it learns no class. D-FINE's boxes learn from the
    pairs of all its layers; Relation-DETR's cost has 1e-6 in its logarithms.

    Args:
        num_classes: C.
        alpha, gamma: as of `varifocal`.
    """
    weighting = varifocal(alpha, gamma, box_weight="one", box_scale=1.0, detach=True, count="targets")
    return one_to_one(num_classes, weighting)


@ASSIGNERS.register("mal")
def mal_preset(num_classes: int, gamma: float = 1.5, alpha: float = 1.0) -> Assigner:
    """DEIM (arXiv 2412.04234): Hungarian x matchability-aware loss; costs 2, 5, 2 and loss weights 1, 5, 2.

    DEIM's boxes learn from the pairs of all its layers, as D-FINE's do.

    Args:
        num_classes: C.
        gamma, alpha: as of the weighting `mal`.
    """
    return one_to_one(num_classes, mal(gamma, alpha))


@ASSIGNERS.register("lw")
def lw(num_classes: int, score_power: float = 0.25, floor: float = 0.01, gamma: float = 2.0) -> Assigner:
    """LW-DETR (arXiv 2406.03459) in one group: Hungarian x IoU-aware cross entropy; costs 2, 5, 2, loss weights 1, 5, 2.

    Logs are exact for every logit; those of the authors' code are infinite where a float32 sigmoid is 0 or 1.

    Args:
        num_classes: C.
        score_power: of P in the score that a query is to reach; the IoU has 1 − score_power.
        floor, gamma: as of `ia_bce`.
    """
    return one_to_one(num_classes, ia_bce(score_power, 1 - score_power, floor, gamma))


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
    return one_to_one(num_classes, weighting, {**usual_costs(DETREX_EPS), "focal": modulated}, DETREX_EPS)


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
    return Staged({at: one_to_one(num_classes, weighting, costs, DETREX_EPS) for at, costs in stages.items()})
