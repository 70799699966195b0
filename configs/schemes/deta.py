"""DETA: proposals left by NMS, and up to four queries for an object by the IoU of where they start (arXiv 2212.06137)."""

from typing import Any

from .parts import proposes, with_encoder


def scheme(model: dict[str, Any]) -> dict[str, Any]:
    changes = {"model.post_process.per_level": 10_000, "model.post_process.max_per_image": 100}
    if proposes(model):
        changes["model.queries.select"] = "level_nms"
    if model["queries"].get("content") == "proposal":
        changes["model.queries.content"] = "both"
    return {"assigner": with_encoder(model, {"type": "deta"}, "deta(threshold=0.7, limit=128)"), "changes": changes}
