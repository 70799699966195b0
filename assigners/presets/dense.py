"""FCOS and what came of it: matchings that look at geometry alone."""

from __future__ import annotations

from typing import Any

from ..assigner import Assigner
from ..matching import ATSS, CenterSampling, MaxIoU
from ..registry import ASSIGNERS
from ..scores import Sigmoid, SigmoidObjectness
from ..weighting import Dual, focal


@ASSIGNERS.register("fcos")
def fcos(num_classes: int, radius: float | None = 1.5, ranges: list[tuple[float, float]] | None = None) -> Assigner:
    """FCOS: centre sampling x focal; boxes weighted by centerness."""
    weighting = focal(box_weight="centerness", box_floor=1e-6)
    return Assigner(CenterSampling(radius=radius, ranges=ranges), weighting, Sigmoid(), num_classes=num_classes)


@ASSIGNERS.register("atss")
def atss(num_classes: int, k: int = 9, prior_scale: float = 8.0) -> Assigner:
    """ATSS: adaptive IoU threshold x focal; boxes weighted by centerness, GIoU weight 2."""
    weighting = focal(box_weight="centerness", box_scale=2.0)
    return Assigner(ATSS(k=k, prior_scale=prior_scale), weighting, Sigmoid(), num_classes=num_classes)


@ASSIGNERS.register("max_iou")
def max_iou(
    num_classes: int, positive_iou: float = 0.5, negative_iou: float = 0.4, prior_scale: float = 8.0
) -> Assigner:
    """RetinaNet's rule on one square anchor per point: max-IoU x focal."""
    matching = MaxIoU(positive_iou=positive_iou, negative_iou=negative_iou, prior_scale=prior_scale)
    return Assigner(matching, focal(box_scale=2.0), Sigmoid(), num_classes=num_classes)


@ASSIGNERS.register("fcos_dual")
def fcos_dual(
    num_classes: int,
    radius: float | None = 1.5,
    ranges: list[tuple[float, float]] | None = None,
    weighting: dict[str, Any] | None = None,
) -> Assigner:
    """FCOS's centre sampling under dual weighting: what DW's weights alone bring."""
    matching = CenterSampling(radius=radius, ranges=ranges)
    return Assigner(matching, Dual(**(weighting or {})), SigmoidObjectness(), num_classes=num_classes)
