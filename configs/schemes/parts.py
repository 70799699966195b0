"""What schemes share."""

from __future__ import annotations

from typing import Any


def tricks(model: dict[str, Any]) -> dict[str, Any]:
    """Changes that make Deformable DETR in two stages the baseline of later papers: mixed selection, look forward twice."""
    if model["queries"].get("content") != "proposal":
        return {}
    return {"model.queries.content": "mixed", "model.decoder.refinement": "forward_twice"}


def proposes(model: dict[str, Any]) -> bool:
    """Whether the detector's encoder makes proposals: whether it has two stages."""
    return model["head"].get("encoder") is not None


def with_encoder(model: dict[str, Any], assigner: dict[str, Any], encoder: str) -> dict[str, Any]:
    """An assigner's spec, with another for the encoder's proposals where there are some."""
    return {**assigner, "encoder": encoder} if proposes(model) else assigner


def check_sees_alone(name: str, model: dict[str, Any]) -> None:
    """Raise ValueError for a decoder whose queries cannot look at the image before they saw each other."""
    if model["decoder"]["attention"] == "levels":
        raise ValueError(
            f"scheme: {name} lets queries look at the image before they see each other, which goes on every query detector "
            "but the encoder-only ones (dab_deformable_encoder_only, dn_dab_deformable_encoder_only)"
        )


def check_refines(name: str, model: dict[str, Any]) -> None:
    """Raise ValueError for a decoder that has no boxes between its layers."""
    if model["decoder"].get("refinement") is None:
        raise ValueError(
            f"scheme: {name} compares the boxes of every layer, so it goes on detectors whose references move: dab_detr, "
            "dn_detr and all deformable ones but plain deformable_detr, dino among them"
        )
