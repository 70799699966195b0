"""Group DETR: eleven groups of queries, each matched by itself; inference keeps the first (arXiv 2207.13085)."""

from typing import Any


def scheme(model: dict[str, Any]) -> dict[str, Any]:
    return {"extra": {"groups": {"type": "groups", "k": 11}}}
