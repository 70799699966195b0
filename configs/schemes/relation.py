"""Relation-DETR's hybrid pass and varifocal loss; its position relation is not here (arXiv 2407.11699)."""

from typing import Any

from .parts import proposes


def scheme(model: dict[str, Any]) -> dict[str, Any]:
    queries = 5 * model["queries"]["num_queries"] // 3
    own = "encoder" if proposes(model) else "queries"
    return {
        "assigner": "vfl",
        "extra": {"hybrid": {"type": "branch", "queries": queries, "repeat": 6, "own": own}},
    }
