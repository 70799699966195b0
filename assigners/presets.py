"""Whole assigners by the names people know, each a choice of parts with the published constants.

A preset is an ordinary function; `build` finds it by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from .assigner import Assigner
from .matching import ATSS, CenterPrior, CenterSampling, Hungarian, MaxIoU, TopK
from .matching.hungarian import SOFTMAX_COSTS
from .registry import ASSIGNERS, MATCHINGS, WEIGHTINGS, describe_parts
from .scores import Sigmoid, SigmoidObjectness, Softmax
from .spec import parse
from .weighting import CrossEntropy, Dual, focal, quality_focal


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


@ASSIGNERS.register("gfl")
def gfl(num_classes: int, k: int = 9, beta: float = 2.0) -> Assigner:
    """GFL without its box distribution: ATSS x quality focal."""
    return Assigner(ATSS(k=k), quality_focal(beta=beta), Sigmoid(), num_classes=num_classes)


@ASSIGNERS.register("dw")
def dw(
    num_classes: int,
    form: Literal["code", "paper"] = "code",
    score: Any = "sigmoid_objectness",
    top_k: int | None = None,
    prior: dict[str, Any] | None = None,
    weighting: dict[str, Any] | None = None,
) -> Assigner:
    """DW: centre prior x dual weighting over sigmoid x objectness.

    Args:
        num_classes: C.
        form: the published code's constants or the paper's.
        score: score model; DW's is sigmoid x objectness, sigmoid and softmax work too.
        top_k: keep only so many candidates per target (the paper's ablation); None is the soft bag.
        prior: arguments of CenterPrior (sigma, learnable, hard_threshold, exclusive, ...).
        weighting: arguments of Dual (mu_weight, mu_norm, conflict, positive_scale, ...).
    """
    if form not in ("code", "paper"):
        raise ValueError(f'form: expected "code" or "paper", got {form!r}')
    matching = MATCHINGS.build({"type": "center_prior", **(prior or {})}, num_classes=num_classes)
    dual = WEIGHTINGS.build({"type": "dual" if form == "code" else "dual_paper", **(weighting or {})})
    return Assigner(matching if top_k is None else TopK(matching, top_k), dual, score, num_classes=num_classes)


@ASSIGNERS.register("dw_paper")
def dw_paper(
    num_classes: int,
    score: Any = "sigmoid_objectness",
    top_k: int | None = None,
    prior: dict[str, Any] | None = None,
    weighting: dict[str, Any] | None = None,
) -> Assigner:
    """DW in the paper's form: equal exponents, IoU^5, fixed end points (arXiv 2203.09730, equations 6 to 13)."""
    return dw(num_classes, "paper", score, top_k, prior, weighting)


@ASSIGNERS.register("dw_softmax")
def dw_softmax(
    num_classes: int,
    form: Literal["code", "paper"] = "code",
    top_k: int | None = None,
    prior: dict[str, Any] | None = None,
    weighting: dict[str, Any] | None = None,
) -> Assigner:
    """DW over a softmax with background instead of sigmoid x objectness, for data with many exclusive classes."""
    return dw(num_classes, form, "softmax", top_k, prior, weighting)


@ASSIGNERS.register("dw_top9")
def dw_top9(
    num_classes: int,
    form: Literal["code", "paper"] = "code",
    score: Any = "sigmoid_objectness",
    prior: dict[str, Any] | None = None,
    weighting: dict[str, Any] | None = None,
) -> Assigner:
    """DW over a bag of each target's nine best candidates instead of every point inside its box."""
    return dw(num_classes, form, score, 9, prior, weighting)


@ASSIGNERS.register("dw_original")
def dw_original(num_classes: int, prior: dict[str, Any] | None = None) -> Assigner:
    """DW as its code computes it, order dependence and floored logs included; for parity with the original only."""
    return Assigner(
        CenterPrior(num_classes, **(prior or {})),
        Dual(conflict="last"),
        SigmoidObjectness(space="probability"),
        num_classes=num_classes,
    )


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
    return _focal_hungarian(num_classes, costs, class_scale, eps=1e-6)


@ASSIGNERS.register("deformable_detr")
def deformable_detr(num_classes: int, costs: Mapping[str, Any] | None = None, class_scale: float = 2.0) -> Assigner:
    """Conditional DETR and Deformable DETR: Hungarian x focal; costs 2, 5, 2 and loss weights 2, 5, 2.

    Args:
        num_classes: C.
        costs: terms of the matching cost in place of focal 2, L1 5, GIoU 2.
        class_scale: weight of the class terms of the loss.
    """
    return _focal_hungarian(num_classes, costs, class_scale, eps=0.0)


def _focal_hungarian(num_classes: int, costs: Mapping[str, Any] | None, class_scale: float, eps: float) -> Assigner:
    matching = Hungarian(costs or {"focal": 2.0, "l1": 5.0, "giou": {"weight": 2.0, "eps": eps}})
    weighting = focal(class_scale=class_scale, count="targets")
    return Assigner(matching, weighting, Sigmoid(), _box_terms(eps), num_classes)


def _box_terms(eps: float) -> dict[str, Any]:
    """The box loss of DETR and its family: L1 with weight 5 and GIoU with weight 2, on shares of the image."""
    return {"relative_l1": 5.0, "relative_giou": {"weight": 2.0, "eps": eps}}


def build(spec: str | dict[str, Any] | Assigner, num_classes: int, **changes: Any) -> Assigner:
    """An assigner from a preset, or from parts.

    Args:
        spec: a preset ("dw") or parts ("atss+dual", or "matching+weighting+score"), each with arguments if need be
            ("dw(top_k=20)", see `assigners.spec`); the same as dicts ({"type": "dw", "top_k": 20}, or {"matching": ...,
            "weighting": ..., "score": ..., "box_loss": ...}); or a finished assigner.
        num_classes: C.
        changes: arguments that override the preset's.

    Raises:
        ValueError: for unknown names or arguments, for changes to a finished assigner or one for another number of classes, and
            for parts that cannot work together.

    >>> build("dw", num_classes=80, top_k=20).matching.k
    20
    >>> build("top_k(center_prior(sigma=1.5), k=9)+quality_focal(beta=1)", num_classes=80).weighting.box_weight
    'score'
    """
    if isinstance(spec, Assigner):
        if changes:
            raise ValueError(f"assigner: a finished one takes no changes, got {sorted(changes)}")
        if spec.num_classes not in (None, num_classes):
            raise ValueError(f"num_classes: expected {num_classes}, got a finished assigner for {spec.num_classes}")
        return spec
    spec = {**assigner_spec(spec), **changes}
    if "type" in spec:
        return ASSIGNERS.build(spec, num_classes=num_classes)
    unknown = sorted(set(spec) - {"matching", "weighting", "score", "box_loss"})
    if unknown or not {"matching", "weighting"} <= set(spec):
        raise ValueError(f"assigner: expected a type, or matching and weighting (score, box_loss), got {sorted(spec)}")
    return Assigner(**spec, num_classes=num_classes)


def assigner_spec(assigner: str | Mapping[str, Any]) -> dict[str, Any]:
    """The dict form of an assigner's spec (see `assigners.spec`); a dict is one already.

    Raises:
        ValueError: for text that is no spec, and for names that are unknown.

    >>> assigner_spec("dw(top_k=9)"), assigner_spec("atss+dual(gamma=1.5)")
    ({'type': 'dw', 'top_k': 9}, {'matching': 'atss', 'weighting': {'type': 'dual', 'gamma': 1.5}})
    """
    if isinstance(assigner, Mapping):
        return dict(assigner)
    if not isinstance(assigner, str):
        raise ValueError(f"assigner: expected a name, a dict or an Assigner, got {assigner!r}")
    parts = parse(assigner, "assigner")
    return describe_parts(parts) if len(parts) > 1 else ASSIGNERS.describe(parts[0])
