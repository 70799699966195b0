"""RT-DETR's varifocal loss: the class score of a matched query is to reach its IoU (arXiv 2304.08069)."""

from typing import Any


def scheme(model: dict[str, Any]) -> dict[str, Any]:
    return {"assigner": "vfl"}
