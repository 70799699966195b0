"""Names of mmdet 3's checkpoints in this project's names: DETR, Conditional, Deformable, DAB-DETR, DINO, DDQ, FCOS and DW.

Names are those of mmdet 3.3's models. FCOS and DW (written for mmdet 2) name their dense parts as this project does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from .heads import head_rules, layer_count
from .rules import Rule, Translation, translate

PROJECTIONS = (
    Rule(r"(.*)\.qcontent_proj\.", r"\1.query_content."),
    Rule(r"(.*)\.qpos_proj\.", r"\1.query_position."),
    Rule(r"(.*)\.qpos_sine_proj\.", r"\1.query_spatial."),
    Rule(r"(.*)\.kcontent_proj\.", r"\1.key_content."),
    Rule(r"(.*)\.kpos_proj\.", r"\1.key_position."),
    Rule(r"(.*)\.v_proj\.", r"\1.value."),
)
LAYERS = (
    Rule(r"(encoder\.layers\.\d+)\.self_attn\.(attn\.)?", r"\1.attention."),
    Rule(r"(decoder\.layers\.\d+)\.self_attn\.(attn\.)?", r"\1.self_attention."),
    Rule(r"(decoder\.layers\.\d+)\.cross_attn\.(attn\.)?", r"\1.cross_attention."),
    Rule(r"(.*layers\.\d+)\.ffn\.layers\.0\.0\.", r"\1.feed_forward.linear1."),
    Rule(r"(.*layers\.\d+)\.ffn\.layers\.0\.1\.", r"\1.feed_forward.activation."),
    Rule(r"(.*layers\.\d+)\.ffn\.layers\.1\.", r"\1.feed_forward.linear2."),
    *(Rule(rf"(.*layers\.\d+)\.norms\.{index}\.", rf"\1.norm{index + 1}.") for index in range(3)),
    *(Rule(rf"(bbox_head\.(boxes\.\d+|encoder_box))\.{2 * index}\.", rf"\1.layers.{index}.") for index in range(3)),
)
PARTS = (
    Rule(r"neck\.convs\.(\d+)\.conv\.", r"neck.levels.\1.0."),
    Rule(r"neck\.convs\.(\d+)\.gn\.", r"neck.levels.\1.1."),
    Rule(r"level_embed$", "encoder.level_embedding"),
    Rule(r"encoder\.query_scale\.", "encoder.position_scale."),
    Rule(r"decoder\.query_scale\.", "decoder.guide.query_scale."),
    Rule(r"decoder\.ref_anchor_head\.", "decoder.guide.reference_size."),
    Rule(r"decoder\.post_norm\.", "decoder.norm."),
    Rule(r"patterns\.", "queries.patterns."),
    Rule(r"reference_points_fc\.", "queries.reference.layers.0."),
    Rule(r"memory_trans_fc\.", "queries.proposals.linear."),
    Rule(r"memory_trans_norm\.", "queries.proposals.norm."),
    Rule(r"pos_trans_fc\.", "queries.from_anchor.linear."),
    Rule(r"pos_trans_norm\.", "queries.from_anchor.norm."),
    Rule(r"query_map\.", "queries.from_memory."),
    Rule(r"dn_query_generator\.label_embedding\.", "denoising.labels."),
)
SINGLE_HEAD = (
    Rule(r"bbox_head\.fc_cls\.", "bbox_head.classes.0."),
    Rule(r"bbox_head\.reg_ffn\.layers\.0\.0\.", "bbox_head.boxes.0.layers.0."),
    Rule(r"bbox_head\.reg_ffn\.layers\.1\.", "bbox_head.boxes.0.layers.1."),
    Rule(r"bbox_head\.fc_reg\.layers\.", "bbox_head.boxes.0.layers."),
    Rule(r"bbox_head\.fc_reg\.", "bbox_head.boxes.0.layers.2."),
)
DENSE = (
    Rule(r"bbox_head\.reg_offset\.", "bbox_head.refinement.reg_offset."),
    Rule(r"bbox_head\.center_prior\.", None, "the prior of DW's assignment, which only training reads"),
)


def from_mmdet(state: Mapping[str, Tensor]) -> Translation:
    """A checkpoint of one of mmdet's query detectors in this project's names."""
    heads = head_rules(state, "bbox_head.cls_branches", "bbox_head.reg_branches")
    first = (*_dense_branch_rules(state), *heads, *SINGLE_HEAD, *_neck_rules(state), *_query_rules(state), *PARTS)
    translation = translate(_cut_query_embedding(state), (first, LAYERS, PROJECTIONS))
    return translation.with_names({"query_content.weight": "query_embedding.weight"})


def from_dense(state: Mapping[str, Tensor]) -> Translation:
    """A checkpoint of an FCOS-style detector in this project's names, which are nearly the same."""
    return translate(state, (DENSE,))


def settings_of(state: Mapping[str, Tensor], description: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Config keys with which this project's query detector computes what mmdet's does with these weights.

    mmdet's DAB-DETR and DINO floor the inverse sigmoid differently where references move and where boxes are read off;
    its projections have no bias before a norm; it cuts boxes at the border of their image.

    Args:
        state: in mmdet's names.
        description: the model in mmdet's config, where known.
    """
    settings: dict[str, Any] = {"model.post_process.clip": True}
    settings["model.neck.bias"] = "neck.convs.0.conv.bias" in state
    if _has_anchors(state):
        settings |= {"model.head.eps": 1e-3, "model.head.refine_eps": 1e-5}
    elif _learns_contents(state) or _is_ddq(state):
        settings |= {"model.head.eps": 1e-5, "model.head.refine_eps": 1e-3}
    if _is_ddq(state):
        settings |= _distinct_settings(_section(description, "dqs_cfg").get("iou_threshold", 0.8))
    encoding = _section(description, "positional_encoding")
    settings |= {f"model.encoder.{key}": encoding[key] for key in ("temperature", "offset") if key in encoding}
    return settings | _image_settings(description or {})


def _distinct_settings(overlap: float) -> dict[str, Any]:
    """DDQ's: contents mapped from features, and NMS among proposals and between layers."""
    select = {"type": "nms", "overlap": overlap}
    decoder = {"model.decoder.distinct": overlap, "model.decoder.distinct_by_first_row": True}
    return {"model.queries.content": "mapped", "model.queries.select": select, **decoder}


def dense_settings(state: Mapping[str, Tensor], description: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The same for FCOS-style detectors; that boxes are log-distances, and where centerness sits, weights do not say."""
    settings: dict[str, Any] = {"model.head.conv_bias": "bbox_head.cls_convs.0.conv.bias" in state}
    head = _section(description, "bbox_head")
    if head.get("type") == "FCOSHead":
        settings["model.head.distances"] = "relu" if head.get("norm_on_bbox") else "exp"
        settings["model.head.branch_on"] = "reg" if head.get("centerness_on_reg") else "cls"
    overlap = _section(_section(description, "test_cfg"), "nms").get("iou_threshold")
    if overlap is not None:
        settings["model.post_process.nms_iou"] = overlap
    return settings | _image_settings(description or {})


def _image_settings(description: Mapping[str, Any]) -> dict[str, Any]:
    """How images are normalised, and which of a block's convolutions has the stride (caffe's models differ in both)."""
    given = _section(description, "data_preprocessor")
    settings = {f"model.preprocessor.{key}": given[key] for key in ("mean", "std", "bgr_to_rgb") if key in given}
    style = _section(description, "backbone").get("style")
    return settings if style is None else {**settings, "model.backbone.style": style}


def _section(description: Mapping[str, Any] | None, name: str) -> Mapping[str, Any]:
    """A dict inside a description, {} where it says anything else or nothing."""
    section = (description or {}).get(name)
    return section if isinstance(section, dict) else {}


def _has_anchors(state: Mapping[str, Tensor]) -> bool:
    """DAB-DETR."""
    return "decoder.ref_anchor_head.layers.0.weight" in state


def _learns_contents(state: Mapping[str, Tensor]) -> bool:
    """DINO."""
    return "memory_trans_fc.weight" in state and "query_embedding.weight" in state


def _is_ddq(state: Mapping[str, Tensor]) -> bool:
    return "query_map.weight" in state


def _dense_branch_rules(state: Mapping[str, Tensor]) -> tuple[Rule, ...]:
    """DDQ's heads for its dense queries: those of the encoder are numbered on after the detector's own."""
    behind = layer_count(state) + 1
    pattern = rf"bbox_head\.((cls|reg)_branches\.{behind}|aux_(cls|reg)_branches)\."
    return (Rule(pattern, None, "DDQ's heads of dense queries, for training alone"),)


def _neck_rules(state: Mapping[str, Tensor]) -> tuple[Rule, ...]:
    """Extra levels are numbered from zero again."""
    inputs = len({m[1] for name in state if (m := re.match(r"neck\.convs\.(\d+)\.", name))})
    extra = {int(m[1]) for name in state if (m := re.match(r"neck\.extra_convs\.(\d+)\.", name))}
    return tuple(
        Rule(rf"neck\.extra_convs\.{number}\.{part}\.", f"neck.levels.{inputs + number}.{place}.")
        for number in sorted(extra)
        for place, part in enumerate(("conv", "gn"))
    )


def _query_rules(state: Mapping[str, Tensor]) -> tuple[Rule, ...]:
    """The query embedding is a place (DETR, Conditional), an anchor (DAB-DETR) or a content (DINO); the reference head
    finds points from places (Conditional) or makes places from anchors."""
    anchors = _has_anchors(state)
    kind = "anchors" if anchors else "content" if _learns_contents(state) else "position"
    points = kind == "position" and "query_embedding.weight" in state
    return (
        Rule(r"query_embedding\.", f"queries.{kind}."),
        Rule(r"query_content\.", "queries.content."),
        Rule(r"decoder\.ref_point_head\.", "queries.reference." if points else "decoder.guide.reference_position."),
    )


def _cut_query_embedding(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Deformable DETR's query embedding is [place, content]."""
    state = dict(state)
    if "reference_points_fc.weight" in state:
        state["query_embedding.weight"], state["query_content.weight"] = state["query_embedding.weight"].chunk(2, 1)
    return state
