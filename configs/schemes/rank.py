"""Rank-DETR's cost and loss on H-DETR's branch; its rank-adaptive layers are not here (arXiv 2310.08854)."""

from typing import Any

from . import h_detr


def scheme(model: dict[str, Any]) -> dict[str, Any]:
    return {**h_detr.scheme(model), "assigner": {"type": "rank", "encoder": "rank(by_giou=False)"}}
