"""Align-DETR: two queries per object but in the last layer, whose scores are to say how well boxes fit (arXiv 2304.07527)."""

from typing import Any


def scheme(model: dict[str, Any]) -> dict[str, Any]:
    return {"assigner": {"type": "align", "denoising": "lw(eps=1e-6)"}}
