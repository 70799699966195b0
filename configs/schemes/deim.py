"""DEIM: the matchability-aware loss on pictures with more objects, mosaics and mixtures (arXiv 2412.04234)."""

from typing import Any

from . import mal


def scheme(model: dict[str, Any]) -> dict[str, Any]:
    return {**mal.scheme(model), "changes": {"input.augmentation": "dense", "input.multi_scale": None}}
