"""Stable-DINO: class scores, in cost and loss, are to say how well boxes fit (arXiv 2304.04742)."""

from typing import Any


def scheme(model: dict[str, Any]) -> dict[str, Any]:
    return {"assigner": {"type": "stable", "denoising": "stable(class_scale=1)"}}
