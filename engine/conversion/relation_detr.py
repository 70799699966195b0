"""Names of Relation-DETR's checkpoints in those of DINO's code, from which it descends."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from .official import from_official
from .rules import Rule, Translation, translate

ADDED = (
    Rule(r"_classes_$", None, "the names of the classes, as numbers"),
    Rule(r"transformer\.hybrid_", None, "Relation-DETR's one-to-many branch, for training alone"),
    Rule(
        r"transformer\.decoder\.position_relation_embedding\.",
        None,
        "Relation-DETR's queries attend by how their boxes lie to each other, these do not: train on",
    ),
    Rule(
        r"transformer\.encoder\.memory_fusion\.",
        None,
        "Relation-DETR joins the maps of all encoder layers, here the last one's is taken: train on",
    ),
)
PARTS = (
    Rule(r"backbone\.", "backbone.0.body."),
    Rule(r"neck\.convs\.", "input_proj."),
    Rule(r"transformer\.level_embeds$", "transformer.level_embed"),
    Rule(r"transformer\.encoder_class_head\.", "transformer.enc_out_class_embed."),
    Rule(r"transformer\.encoder_bbox_head\.", "transformer.enc_out_bbox_embed."),
    Rule(r"transformer\.decoder\.class_head\.", "class_embed."),
    Rule(r"transformer\.decoder\.bbox_head\.", "bbox_embed."),
    Rule(r"denoising_generator\.label_encoder\.", "label_enc."),
)


def from_relation_detr(state: Mapping[str, Tensor]) -> Translation:
    """A checkpoint of Relation-DETR's on a ResNet in this project's names."""
    first = translate(state, ((*ADDED, *PARTS),))
    return from_official(first.state).after(first)


def settings_of(state: Mapping[str, Tensor], description: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Config keys with which this project's DINO computes what Relation-DETR does, but for its relations and its fusion.

    Projections have no bias before a norm, positions are scaled by contents and encoded as in Deformable DETR.
    """
    encoding = {"model.encoder.temperature": 10000.0, "model.encoder.offset": -0.5}
    return {**encoding, "model.neck.bias": False, "model.decoder.scale_positions": True}


def class_names(state: Mapping[str, Tensor]) -> tuple[str, ...] | None:
    """Names of the classes, which the checkpoint holds letter by letter, -1 after each; None where it does not.

    >>> from torch import tensor
    >>> class_names({"_classes_": tensor([99, 97, 116, -1, 100, 111, 103, -1])})
    ('cat', 'dog')
    """
    if "_classes_" not in state:
        return None
    letters = "".join("\n" if letter < 0 else chr(letter) for letter in state["_classes_"].tolist())
    return tuple(re.findall(r"[^\n]+", letters))
