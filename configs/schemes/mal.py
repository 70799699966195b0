"""DEIM's matchability-aware loss, which also learns from pairs that fit badly (arXiv 2412.04234)."""

from typing import Any


def scheme(model: dict[str, Any]) -> dict[str, Any]:
    return {"assigner": "mal"}
