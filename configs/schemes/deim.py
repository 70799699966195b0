"""DEIM: its loss, boxes that learn from the pairs of all layers, and pictures with more objects (arXiv 2412.04234)."""

from typing import Any


def scheme(model: dict[str, Any]) -> dict[str, Any]:
    return {"assigner": "deim", "changes": {"input.augmentation": "dense", "input.multi_scale": None}}
