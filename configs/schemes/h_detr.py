"""H-DETR: a branch of further queries, five times as many, that find every object six times (arXiv 2207.13080)."""

from typing import Any

from .parts import tricks


def scheme(model: dict[str, Any]) -> dict[str, Any]:
    queries = min(5 * model["queries"]["num_queries"], 1500)
    return {"extra": {"branch": {"type": "branch", "queries": queries, "repeat": 6}}, "changes": tricks(model)}
