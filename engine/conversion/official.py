"""Names of the papers' own checkpoints (DETR, Conditional, Deformable, DAB, DN, DINO) in the query detector's names.

Those of H-DETR, DETA, MS-DETR and DAC-DETR are Deformable DETR's, of Group DETR Conditional DETR's, and a few more.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from .convnext import convnext_rules, scale_as_map
from .heads import head_rules
from .rules import Rule, Translation, translate
from .swin import SWIN, merged_patches

ATTENTION = (
    Rule(r"(.*)\.sa_qcontent_proj\.", r"\1.self_attention.query_content."),
    Rule(r"(.*)\.sa_qpos_proj\.", r"\1.self_attention.query_position."),
    Rule(r"(.*)\.sa_kcontent_proj\.", r"\1.self_attention.key_content."),
    Rule(r"(.*)\.sa_kpos_proj\.", r"\1.self_attention.key_position."),
    Rule(r"(.*)\.sa_v_proj\.", r"\1.self_attention.value."),
    Rule(r"(.*)\.ca_qcontent_proj\.", r"\1.cross_attention.query_content."),
    Rule(r"(.*)\.ca_qpos_proj\.", r"\1.cross_attention.query_position."),
    Rule(r"(.*)\.ca_qpos_sine_proj\.", r"\1.cross_attention.query_spatial."),
    Rule(r"(.*)\.ca_kcontent_proj\.", r"\1.cross_attention.key_content."),
    Rule(r"(.*)\.ca_kpos_proj\.", r"\1.cross_attention.key_position."),
    Rule(r"(.*)\.ca_v_proj\.", r"\1.cross_attention.value."),
    Rule(r"(.*)\.ca_out_v_proj\.", r"\1.cross_attention.out_proj."),
    Rule(r"(.*)\.lvl_attn\.", r"\1.cross_attention.level_weights."),
    Rule(r"(decoder\.layers\.\d+)\.self_attn\.", r"\1.self_attention."),
    Rule(r"(decoder\.layers\.\d+)\.(multihead_attn|cross_attn)\.", r"\1.cross_attention."),
    Rule(r"(encoder\.layers\.\d+)\.self_attn\.", r"\1.attention."),
    Rule(r"(.*layers\.\d+)\.(linear[12]|activation)\.", r"\1.feed_forward.\2."),
)
ADDED = (
    Rule(r"decoder\.layers\.(\d+)\.linear3\.", r"extra.mixed.networks.\1.linear1."),
    Rule(r"decoder\.layers\.(\d+)\.linear4\.", r"extra.mixed.networks.\1.linear2."),
    Rule(r"decoder\.layers\.(\d+)\.norm4\.", r"extra.mixed.norms.\1."),
    Rule(r"pix_trans\.", "queries.from_token.0."),
    Rule(r"pix_trans_norm\.", "queries.from_token.1."),
)
PARTS = (
    *SWIN,
    Rule(r"backbone\.0\.body\.", "backbone."),
    Rule(r"input_proj\.(weight|bias)$", r"neck.levels.0.0.\1"),
    Rule(r"input_proj\.(\d+)\.", r"neck.levels.\1."),
    Rule(r"level_embed$", "encoder.level_embedding"),
    Rule(r"encoder\.query_scale\.", "encoder.position_scale."),
    Rule(r"decoder\.query_scale\.", "decoder.guide.query_scale."),
    Rule(r"decoder\.ref_anchor_head\.", "decoder.guide.reference_size."),
    Rule(r"reference_points\.", "queries.reference.layers.0."),
    Rule(r"refpoint_embed\.", "queries.anchors."),
    Rule(r"tgt_embed\.", "queries.content."),
    Rule(r"patterns\.", "queries.patterns."),
    Rule(r"label_enc\.", "denoising.labels."),
    Rule(r"enc_output\.", "queries.proposals.linear."),
    Rule(r"enc_output_norm\.", "queries.proposals.norm."),
    Rule(r"pos_trans\.", "queries.from_anchor.linear."),
    Rule(r"pos_trans_norm\.", "queries.from_anchor.norm."),
    Rule(r"enc_out_class_embed\.", "bbox_head.encoder_class."),
    Rule(r"enc_out_bbox_embed\.", "bbox_head.encoder_box."),
)
COPIES = Rule(r"decoder\.(bbox_embed|class_embed)\.", None, "a second name of the heads")


def from_official(state: Mapping[str, Tensor]) -> Translation:
    """A checkpoint of one of the papers' repositories in this project's names.

    The family is read off the names. Names that are second ones of a tensor are dropped; a query embedding that holds
    place and content side by side is cut in two.
    """
    originals = {_bare(name): name for name in state}
    bare = {name: _laid_out(name, state[original]) for name, original in originals.items()}
    first = (
        COPIES,
        *convnext_rules(bare),
        *ADDED,
        *_query_rules(bare),
        *head_rules(bare, "class_embed", "bbox_embed"),
        *PARTS,
    )
    prepared = _cut_label_table(_cut_query_embedding(bare))
    translation = translate(prepared, (first, _norm_rules(bare), ATTENTION))
    return translation.with_names({"tgt_embed.weight": "query_embed.weight", **originals})


def settings_of(state: Mapping[str, Tensor], description: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Config keys that MS-DETR's and DETA's weights demand: layers that begin with cross-attention; contents made of boxes and
    features, proposals chosen level by level, and NMS at the end."""
    settings: dict[str, Any] = {}
    if "transformer.decoder.layers.0.linear3.weight" in state:
        settings["model.decoder.cross_first"] = True
    if "transformer.pix_trans.weight" in state:
        settings |= {"model.queries.content": "both", "model.queries.select": "level_nms"}
        settings["model.post_process.nms_iou"] = 0.7
    return settings


def _bare(name: str) -> str:
    """Without the prefix of the transformer, which not all repositories have at the same place."""
    return name.removeprefix("module.").removeprefix("transformer.")


def _laid_out(name: str, tensor: Tensor) -> Tensor:
    """A tensor of a backbone in the form that ours has."""
    return scale_as_map(name, merged_patches(name, tensor))


def _query_rules(state: Mapping[str, Tensor]) -> tuple[Rule, ...]:
    """Query embeddings are places, or contents (H-DETR) where places are made from proposals; the same name finds points
    from places (Conditional DETR) and makes places from anchors (DAB-DETR on)."""
    kind = "content" if "pos_trans.weight" in state else "position"
    points = "query_embed.weight" in state
    return (
        Rule(r"query_embed\.", f"queries.{kind}."),
        Rule(r"decoder\.ref_point_head\.", "queries.reference." if points else "decoder.guide.reference_position."),
    )


def _norm_rules(state: Mapping[str, Tensor]) -> tuple[Rule, ...]:
    """Deformable decoders number their norms by age, not by order: norm2 follows the self-attention, which is first."""
    if not any("decoder.layers.0.cross_attn.sampling_offsets" in name for name in state):
        return ()
    return (
        Rule(r"(decoder\.layers\.\d+)\.norm1\.", r"\1.norm2."),
        Rule(r"(decoder\.layers\.\d+)\.norm2\.", r"\1.norm1."),
    )


def _cut_label_table(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """DINO's table of label embeddings may be longer than its classes and the unknown one; the rest is never read."""
    state = dict(state)
    classes = next((tensor for name, tensor in state.items() if re.match(r"class_embed\.(\d+\.)?bias", name)), None)
    if classes is not None and classes.dim() == 1 and "label_enc.weight" in state:
        state["label_enc.weight"] = state["label_enc.weight"][: len(classes) + 1]
    return state


def _cut_query_embedding(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Deformable DETR's query embedding is [place, content]."""
    state = dict(state)
    embedding, reference = state.get("query_embed.weight"), state.get("reference_points.weight")
    if embedding is not None and reference is not None and embedding.shape[1] == 2 * reference.shape[1]:
        state["query_embed.weight"], state["tgt_embed.weight"] = embedding.chunk(2, 1)
    return state
