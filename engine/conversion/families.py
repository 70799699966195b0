"""Whose checkpoint it is, told by its names, and what of the target follows from that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from . import mmdet
from .mmdet import from_dense, from_mmdet
from .official import from_official
from .reading import Checkpoint
from .rules import Translation, translate


@dataclass(frozen=True)
class Recognised:
    """A checkpoint in this project's names.

    Attributes:
        source: "official", "mmdet", "dense" or "detassign".
        translation: its tensors.
        settings: config keys of the target that these weights demand.
    """

    source: str
    translation: Translation
    settings: dict[str, Any]


def recognise(checkpoint: Checkpoint) -> Recognised:
    """Tell the project by the names of its tensors.

    Raises:
        ValueError: for names of none of them.
    """
    state = checkpoint.state
    source = source_of(state)
    if source == "official":
        translation = from_official(state)
        return Recognised(source, translation, _head_settings(translation))
    if source == "mmdet":
        translation = from_mmdet(state)
        settings = mmdet.settings_of(state, checkpoint.model)
        return Recognised(source, translation, _head_settings(translation) | settings)
    if source == "dense":
        return Recognised(source, from_dense(state), mmdet.dense_settings(state, checkpoint.model))
    translation = translate(state, ())
    return Recognised(source, translation, {} if "bbox_head.conv_cls.bias" in state else _head_settings(translation))


def source_of(state: Mapping[str, Tensor]) -> str:
    """The project, by names that it alone has.

    Raises:
        ValueError: for names of none of them.
    """
    if any(name.startswith(("transformer.", "backbone.0.")) for name in state):
        return "official"
    if "bbox_head.classes.0.bias" in state:
        return "detassign"
    if any(name.startswith(("bbox_head.fc_cls.", "bbox_head.cls_branches.")) for name in state):
        return "mmdet"
    if "bbox_head.conv_cls.bias" in state:
        return "dense"
    example = next(iter(state))
    raise ValueError(
        f"none of the projects whose checkpoints can be converted names its tensors like {example!r}; known are the "
        "papers' DETR, Conditional, Deformable, DAB-, DN-DETR and DINO, DW, and mmdet 3's FCOS and DETRs"
    )


def is_plain_detr(state: Mapping[str, Tensor]) -> bool:
    """Whether a translated state dict is a DETR's, the one family with a softmax: its queries have nothing but a place."""
    others = ("queries.reference.", "queries.anchors.", "queries.proposals.", "decoder.guide.")
    return "queries.position.weight" in state and not any(name.startswith(others) for name in state)


def _head_settings(translation: Translation) -> dict[str, Any]:
    """One head for all decoder layers, or one each."""
    return {"model.head.shared": "bbox_head.classes.1.bias" not in translation.state}
