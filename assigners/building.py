"""From a spec to an assigner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import presets  # noqa: F401 (registers them)
from .assigner import Assigner
from .delegate import Delegate
from .home import at_home
from .registry import ASSIGNERS, describe_parts
from .spec import parse

OPTIONAL = ("score", "box_loss", "branch", "steady")
PARTS = {"matching", "weighting", *OPTIONAL}


def build(
    spec: str | Mapping[str, Any] | Assigner,
    num_classes: int,
    home: str | Mapping[str, Any] | None = None,
    **changes: Any,
) -> Assigner:
    """An assigner from a preset, or from parts.

    Args:
        spec: a preset ("dw") or parts ("atss+dual", or "matching+weighting+score"), each with arguments if need be
            ("dw(top_k=20)", see `assigners.spec`); the same as dicts ({"type": "dw", "top_k": 20}, or {"matching": ...,
            "weighting": ..., "score": ..., "box_loss": ...}); or a finished assigner.
        num_classes: C.
        home: the usual assigner of the detector that it is for: parts by name take from it what they leave open, its box
            loss and constants (see `assigners.home`); None leaves them their own.
        changes: arguments that override the preset's.

    Raises:
        ValueError: for unknown names or arguments, for changes to a finished assigner or one for another number of classes, and
            for parts that cannot work together.

    >>> build("dw", num_classes=80, top_k=20).matching.k
    20
    >>> build("top_k(center_prior(sigma=1.5), k=9)+quality_focal(beta=1)", num_classes=80).weighting.box_weight
    'score'
    """
    if isinstance(spec, Assigner | Delegate):
        if changes:
            raise ValueError(f"assigner: a finished one takes no changes, got {sorted(changes)}")
        if spec.num_classes not in (None, num_classes):
            raise ValueError(f"num_classes: expected {num_classes}, got a finished assigner for {spec.num_classes}")
        return spec
    spec = {**assigner_spec(spec), **changes}
    if "type" in spec:
        return ASSIGNERS.build(spec, num_classes=num_classes)
    unknown = sorted(set(spec) - PARTS)
    if unknown or not {"matching", "weighting"} <= set(spec):
        raise ValueError(
            f"assigner: expected a type, or matching and weighting ({', '.join(OPTIONAL)}), got {sorted(spec)}"
        )
    if home is not None:
        return at_home(spec, build(home, num_classes), num_classes)
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
    first, *others = parse(assigner, "assigner")
    return describe_parts((first, *others)) if others else ASSIGNERS.describe(first)
