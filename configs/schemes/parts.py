"""What schemes share."""

from __future__ import annotations

from typing import Any


def tricks(model: dict[str, Any]) -> dict[str, Any]:
    """Changes that make Deformable DETR in two stages the baseline of later papers: mixed selection, look forward twice."""
    if model["queries"].get("content") != "proposal":
        return {}
    return {"model.queries.content": "mixed", "model.decoder.refinement": "forward_twice"}
