"""OTA and what came of it: matchings by the loss that a pair would have, k as many as an object's predictions fit well."""

from __future__ import annotations

from typing import Any

from ..assigner import Assigner
from ..matching import OptimalTransport, dynamic_soft_label, simota_v1
from ..matching import lla as lla_matching
from ..matching import simota as simota_matching
from ..matching.dynamic_k import Ignore
from ..matching.optimal_transport import WithoutCandidates
from ..registry import ASSIGNERS
from ..scores import Sigmoid
from ..staged import Staged
from ..weighting import focal, iou_bce, soft_label


@ASSIGNERS.register("ota")
def ota(
    num_classes: int, radius: float = 2.5, top: int = 20, without_candidates: WithoutCandidates = "cheapest"
) -> Assigner:
    """OTA (arXiv 2103.14259): optimal transport x focal loss, GIoU weight 2, an IoU branch.

    Differs from its code in objects without candidates, which there take part in the transport, by rounding errors.

    Args:
        num_classes: C.
        radius, top, without_candidates: as of `OptimalTransport`.
    """
    matching = OptimalTransport(radius=radius, top=top, without_candidates=without_candidates)
    return Assigner(matching, focal(box_scale=2.0), Sigmoid(), num_classes=num_classes, branch="iou")


@ASSIGNERS.register("simota")
def simota(
    num_classes: int, radius: float = 1.5, top: int = 10, l1_from: float | None = None, branch: Any = "foreground"
) -> Assigner | Staged:
    """YOLOX since 2023 (arXiv 2107.08430): SimOTA x cross entropy with IoUs, objectness beside, box loss 5 (1 - IoU^2).

    Differs from YOLOX: normalisers are averaged over ranks, its are each rank's own; pairs outside a square keep their order in
    float64; of equal costs the nearer object's counts, not the first's; an image without candidates has no pairs, where it
    raises; objectness is divided by the number of images at least, by 1 there (without objects the loss is some 25 times as
    high).

    Args:
        num_classes: C.
        radius: half side of the centre square, strides.
        top: IoUs whose sum says how many samples an object takes.
        l1_from: share of the training from which the box loss has its L1 term too; YOLOX, whose augmentation ends then, has
            it in the last 15 of 300 epochs, 0.95. None is without.
        branch: what learns objectness; YOLOX's is {"type": "foreground", "least_per_image": 0}.
    """
    return _yolox(num_classes, simota_matching, radius, top, l1_from, branch)


@ASSIGNERS.register("simota_v1")
def simota_v1_preset(
    num_classes: int, radius: float = 2.5, top: int = 10, l1_from: float | None = None, branch: Any = "foreground"
) -> Assigner | Staged:
    """YOLOX 0.1 to 0.3: as `simota`, with candidates in a box or a square of 2.5 strides, free in its own box and square.

    Args:
        num_classes: C.
        radius, top, l1_from, branch: as of `simota`.
    """
    return _yolox(num_classes, simota_v1, radius, top, l1_from, branch)


@ASSIGNERS.register("simota_mmdet")
def simota_mmdet(
    num_classes: int, radius: float = 2.5, top: int = 10, l1_from: float | None = None, branch: Any = "foreground"
) -> Assigner | Staged:
    """YOLOX of mmdet 3.3: the rule of `simota_v1`, and normalisers averaged over ranks as everywhere here.

    Args:
        num_classes: C.
        radius, top, l1_from, branch: as of `simota`.
    """
    return _yolox(num_classes, simota_v1, radius, top, l1_from, branch)


def _yolox(
    num_classes: int, matching: Any, radius: float, top: int, l1_from: float | None, branch: Any
) -> Assigner | Staged:
    """One of the matchings under YOLOX's losses."""

    def one(box_loss: Any) -> Assigner:
        return Assigner(matching(radius, top), iou_bce(), Sigmoid(), box_loss, num_classes, branch)

    if l1_from is None:
        return one("iou_square")
    l1 = {"box": {"type": "iou_square"}, "log_size_l1": 0.2}  # of the box weight 5: YOLOX's L1 has weight 1
    return Staged({0.0: one({"box": {"type": "iou_square"}}), l1_from: one(l1)})


@ASSIGNERS.register("rtmdet")
def rtmdet(num_classes: int, top: int = 13) -> Assigner:
    """RTMDet (arXiv 2212.07784): dynamic soft label assignment x quality focal loss, boxes weighted by their IoU.

    Differs from mmdet: costs are in float32 at least, under autocast too; a pair of infinite cost is none.

    Args:
        num_classes: C.
        top: IoUs whose sum says how many samples an object takes.
    """
    return Assigner(dynamic_soft_label(top), soft_label(), Sigmoid(), num_classes=num_classes)


@ASSIGNERS.register("lla")
def lla(num_classes: int, k: int = 10, ignore: Ignore = "compete") -> Assigner:
    """LLA (arXiv 2101.04307), for crowds: the k cheapest samples x focal loss, GIoU weight 2, an IoU branch.

    Differs from its code: the samples that ignore regions win do not count in the normaliser, which is at least 1.

    Args:
        num_classes: C.
        k: samples that an object takes.
        ignore: as of `DynamicK`.
    """
    branch = {"type": "iou", "weight": 0.5}
    return Assigner(
        lla_matching(k, ignore=ignore), focal(box_scale=2.0), Sigmoid(), num_classes=num_classes, branch=branch
    )
