"""Stable-DINO: scores in cost and loss say how well boxes fit; its fusion of encoder layers is not here (arXiv 2304.04742).

As in its released config negatives of denoising move no farther than positives.
"""

from typing import Any


def scheme(model: dict[str, Any]) -> dict[str, Any]:
    parts: dict[str, Any] = {"assigner": {"type": "stable", "denoising": "stable(class_scale=1)"}}
    noise = (model["denoising"] or {}).get("denoising")
    if isinstance(noise, dict) and noise["type"] == "cdn" and not noise.get("unknown_negatives"):
        parts["changes"] = {"model.denoising.denoising.far": "none"}
    return parts
