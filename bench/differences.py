"""What rows of a comparison differ in besides who learns what: a gain may come from there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..assigners.description import shown
from ..assigners.losses import box_terms
from ..engine.build import build_model
from ..engine.runner import calm

__all__ = ["besides", "facts"]


def besides(configs: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A line for every fact in which the detectors of resolved configs, by row, are not alike.

    Returns:
        "NMS: 0.6 (fcos, atss), none (poto)" and the like.
    """
    with calm():
        known = {name: facts(build_model(config, initialise=False)) for name, config in configs.items()}
    lines = []
    for fact in next(iter(known.values()), {}):
        rows: dict[str, list[str]] = {}
        for name, values in known.items():
            rows.setdefault(values[fact], []).append(name)
        if len(rows) > 1:
            told = [f"{value} ({', '.join(names)})" for value, names in rows.items()]
            lines.append(f"{fact}: {', '.join(told)}")
    return lines


def facts(model: Any) -> dict[str, str]:
    """What a detector has beside its matching and the weights of its classes, in words."""
    assigner, overlap = model.bbox_head.assigner, model.post_process.nms_iou
    distances = [f"{weight:g} {shown(part)}" for part, weight in box_terms(assigner.box_loss).values()]
    return {
        "score model": shown(assigner.score),
        "box loss": " + ".join(distances),
        "scale of the box loss": f"{getattr(assigner.weighting, 'box_scale', 1.0):g}",
        "boxes weighted by": str(getattr(assigner.weighting, "box_weight", "the assigner")),
        "second branch": "none" if assigner.branch is None else shown(assigner.branch),
        "second head": "none" if assigner.auxiliary is None else f"under {type(assigner.auxiliary.matching).__name__}",
        "only in training": ", ".join(shown(each) for each in getattr(model, "extra", {}).values()) or "nothing",
        "NMS": "none" if overlap is None else f"{overlap:g}",
        "parameters": f"{sum(parameter.numel() for parameter in model.parameters()):,}",
    }
