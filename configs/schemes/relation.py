"""Relation-DETR's hybrid pass and varifocal loss; its position relation is not here (arXiv 2407.11699)."""

from typing import Any


def scheme(model: dict[str, Any]) -> dict[str, Any]:
    queries = 5 * model["queries"]["num_queries"] // 3
    return {
        "assigner": "vfl",
        "extra": {"hybrid": {"type": "branch", "queries": queries, "repeat": 6, "own": "encoder"}},
    }
