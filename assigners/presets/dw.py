"""DW, dual weighting (arXiv 2203.09730), in its forms."""

from __future__ import annotations

from typing import Any, Literal

from ..assigner import Assigner
from ..matching import CenterPrior, TopK
from ..registry import ASSIGNERS, MATCHINGS, WEIGHTINGS
from ..scores import SigmoidObjectness
from ..weighting import Dual


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
