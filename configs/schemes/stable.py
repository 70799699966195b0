"""Stable-DINO: class scores, in cost and loss, are to say how well boxes fit (arXiv 2304.04742).

As in its released config negatives of denoising move no farther than positives. Its fusion of the encoder's layers is not here.
"""

from typing import Any


def scheme(model: dict[str, Any]) -> dict[str, Any]:
    parts: dict[str, Any] = {"assigner": {"type": "stable", "denoising": "stable(class_scale=1)"}}
    noise = (model["denoising"] or {}).get("denoising")
    if isinstance(noise, dict) and noise["type"] == "cdn" and not noise.get("unknown_negatives"):
        parts["changes"] = {"model.denoising.denoising.far": "none"}
    return parts
