"""DDQ: queries that do not overlap, from the proposals on, and dense ones beside them (arXiv 2303.12776)."""

from typing import Any

from .parts import check_refines


def scheme(model: dict[str, Any]) -> dict[str, Any]:
    check_refines("ddq", model)
    count = 3 * model["queries"]["num_queries"] // 2
    dense = {"type": "branch", "queries": count, "repeat": 1, "own": "heads", "assigner": "ddq_dense"}
    return {"extra": {"dense": dense}, "changes": {"model.decoder.distinct": 0.8, **proposals(model["queries"])}}


def proposals(queries: dict[str, Any]) -> dict[str, Any]:
    """Changes where queries are made of the encoder's proposals; contents that anchors make stay."""
    if "rank_by" not in queries:
        return {}
    select = {"model.queries.select": {"type": "nms", "overlap": 0.8}}
    return {**select, "model.queries.content": "mapped"} if queries["content"] == "learned" else select
