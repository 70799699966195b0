"""Rank-DETR's cost and loss on H-DETR's branch; its rank-adaptive layers are not here (arXiv 2310.08854)."""

from typing import Any

from . import h_detr
from .parts import with_encoder


def scheme(model: dict[str, Any]) -> dict[str, Any]:
    return {**h_detr.scheme(model), "assigner": with_encoder(model, {"type": "rank"}, "rank(by_giou=False)")}
