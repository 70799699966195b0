"""Names of Co-DETR's checkpoints, its authors' and those of mmdet's project, in those of mmdet 3's detectors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from . import mmdet
from .mmdet import from_mmdet
from .rules import Rule, Translation, translate
from .swin import SWIN, merged_patches

AUXILIARY = "Co-DETR's auxiliary {}, for training alone"
ADDED = (
    Rule(r"(rpn_head|roi_head|bbox_head)\.", None, AUXILIARY.format("heads")),
    Rule(r"query_head\.downsample\.", None, AUXILIARY.format("heads' coarsest map")),
    Rule(
        r"query_head\.transformer\.(head_pos_embed|aux_pos_trans(_norm)?|pos_feats_(trans|norm))\.",
        None,
        AUXILIARY.format("queries"),
    ),
)
START = r"query_head\.transformer\."
LAYERS = (
    Rule(START + r"(encoder\.layers\.\d+)\.attentions\.0\.", r"\1.self_attn."),
    Rule(START + r"(decoder\.layers\.\d+)\.attentions\.0\.", r"\1.self_attn."),
    Rule(START + r"(decoder\.layers\.\d+)\.attentions\.1\.", r"\1.cross_attn."),
    Rule(START + r"(.*layers\.\d+)\.ffns\.0\.", r"\1.ffn."),
    Rule(START + r"decoder\.ref_point_head\.0\.", "decoder.ref_point_head.layers.0."),
    Rule(START + r"decoder\.ref_point_head\.2\.", "decoder.ref_point_head.layers.1."),
)
PARTS = (
    Rule(START + r"level_embeds$", "level_embed"),
    Rule(START + r"enc_output\.", "memory_trans_fc."),
    Rule(START + r"enc_output_norm\.", "memory_trans_norm."),
    Rule(START + r"pos_trans\.", "pos_trans_fc."),
    Rule(START + r"query_embed\.", "query_embedding."),
    Rule(START, ""),
    Rule(r"query_head\.query_embedding\.", "query_embedding."),
    Rule(r"query_head\.(dn_generator\.)?label_embedding\.", "dn_query_generator.label_embedding."),
    Rule(r"query_head\.", "bbox_head."),
)


def from_co_detr(state: Mapping[str, Tensor]) -> Translation:
    """A checkpoint of Co-DINO's or Co-Deformable-DETR's in this project's names."""
    state = {name: merged_patches(name, tensor) for name, tensor in state.items()}
    first = translate(state, ((*ADDED, *SWIN, *LAYERS, *PARTS),))
    return from_mmdet(first.state).after(first)


def settings_of(state: Mapping[str, Tensor], description: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Config keys with which this project's query detector computes what Co-DETR's does.

    Inverse sigmoids are floored in one way: Co-DINO's as in DINO's paper, Co-Deformable-DETR's as in Deformable DETR's.
    """
    head = (description or {}).get("query_head")
    settings = mmdet.settings_of(state, {**(description or {}), **(head if isinstance(head, dict) else {})})
    eps = 1e-5 if any(re.match(START + r"pos_trans\.", name) for name in state) else 1e-3
    return settings | {"model.head.eps": eps}
