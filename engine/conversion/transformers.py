"""Names of Hugging Face transformers' DETR, Conditional, Deformable and DAB-DETR in those of the papers' code.

Files on the hub have the names of transformers 4, a model's state dict those of 5; both are known. Its backbones are its own
ResNet or timm's. Keys, queries and values are three tensors there and one here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from .official import from_official
from .reading import OUTER
from .rules import Rule, Translation, translate

PATTERN = r"(model\.)?encoder\.layers\.0\.self_attn_layer_norm\."
DEFORMABLE = "decoder.layers.0.encoder_attn.sampling_offsets.weight"
BODY = r"backbone\.(?:conv_encoder\.)?model\.(?:_backbone\.)?"
BLOCK = BODY + r"encoder\.stages\.{stage}\.layers\.(\d+)\."
RESNET = (
    Rule(BODY + r"embedder\.embedder\.convolution\.", "backbone.0.body.conv1."),
    Rule(BODY + r"embedder\.embedder\.normalization\.", "backbone.0.body.bn1."),
    *(
        Rule(BLOCK.format(stage=stage) + theirs, rf"backbone.0.body.layer{stage + 1}.\1.{ours}.")
        for stage in range(4)
        for theirs, ours in {
            r"shortcut\.convolution\.": "downsample.0",
            r"shortcut\.normalization\.": "downsample.1",
            **{rf"layer\.{index}\.convolution\.": f"conv{index + 1}" for index in range(3)},
            **{rf"layer\.{index}\.normalization\.": f"bn{index + 1}" for index in range(3)},
        }.items()
    ),
    Rule(BODY, "backbone.0.body."),  # timm's, which are torchvision's
)
PARTS = (
    Rule(r"query_position_embeddings\.", "query_embed."),
    Rule(r"query_refpoint_embeddings\.", "refpoint_embed."),
    Rule(r"input_projection\.", "input_proj."),
    Rule(r"class_labels_classifier\.", "class_embed."),
    Rule(r"bbox_predictor\.", "bbox_embed."),
    Rule(r"decoder\.layernorm\.", "decoder.norm."),
)
LAYERS = (
    Rule(r"(.*layers\.\d+)\.(mlp\.)?fc([12])\.", r"\1.linear\3."),
    Rule(r"(.*layers\.\d+)\.(mlp\.)?activation_fn\.", r"\1.activation."),
    Rule(r"(encoder\.layers\.\d+)\.self_attn_layer_norm\.", r"\1.norm1."),
    Rule(r"(encoder\.layers\.\d+)\.final_layer_norm\.", r"\1.norm2."),
    Rule(r"(decoder\.layers\.\d+)\.(mlp\.)?final_layer_norm\.", r"\1.norm3."),
    Rule(r"(.*layers\.\d+\.self_attn)\.o_proj\.", r"\1.out_proj."),
)
CONTENTS = (  # of Conditional DETR's and DAB-DETR's decoder layers
    *(
        Rule(rf"(decoder\.layers\.\d+)\.{attention}\.{kind}_{what}_proj\.", rf"\1.{ours}_{kind}{what}_proj.")
        for attention, ours in (("self_attn", "sa"), ("encoder_attn", "ca"))
        for kind in "qk"
        for what in ("content", "pos")
    ),
    Rule(r"(decoder\.layers\.\d+)\.encoder_attn\.q_pos_sine_proj\.", r"\1.ca_qpos_sine_proj."),
    *(
        Rule(rf"(decoder\.layers\.\d+)\.{attention}\.{attention}_{theirs}_proj\.", rf"\1.{ours}_{short}_proj.")
        for attention, ours in (("self_attn", "sa"), ("cross_attn", "ca"))
        for theirs, short in {
            "query_content": "qcontent",
            "query_pos": "qpos",
            "query_pos_sine": "qpos_sine",
            "key_content": "kcontent",
            "key_pos": "kpos",
            "value": "v",
        }.items()
    ),
    Rule(r"(decoder\.layers\.\d+\.(self|cross)_attn)\.(self|cross)_attn\.output_proj\.", r"\1.out_proj."),
)


def from_transformers(state: Mapping[str, Tensor]) -> Translation:
    """A checkpoint of one of transformers' query detectors in this project's names."""
    originals = {name.removeprefix(OUTER): name for name in state}
    bare = {name: state[original] for name, original in originals.items()}
    renamed = translate(bare, ((*RESNET, *PARTS), LAYERS, CONTENTS, _decoder_rules(bare))).with_names(originals)
    first = _with_every_head(_with_joined_projections(renamed))
    return from_official(first.state).after(first)


def settings_of(state: Mapping[str, Tensor], description: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Config keys with which this project's query detector computes what transformers' does: all its inverse sigmoids have one
    eps, DAB-DETR's too."""
    return {"model.head.eps": 1e-5} if any(map(re.compile(rf"({OUTER})?query_refpoint").match, state)) else {}


def _decoder_rules(state: Mapping[str, Tensor]) -> tuple[Rule, ...]:
    """Attentions and norms of decoder layers; deformable ones number their norms by age, see `official`."""
    own, cross = (2, 1) if DEFORMABLE in state else (1, 2)
    parted = any(re.search(r"\.(ca_qcontent|q_content)_proj\.", name) for name in state)
    values = (("self_attn", "sa_v_proj"), ("encoder_attn", "ca_v_proj")) if parted else ()
    layer = r"(decoder\.layers\.\d+)\."
    return (
        *(Rule(layer + rf"{attention}\.v_proj\.", rf"\1.{ours}.") for attention, ours in values),
        Rule(layer + r"(self_attn\.)?self_attn_layer_norm\.", rf"\1.norm{own}."),
        Rule(layer + r"(encoder_attn|cross_attn\.cross_attn)_layer_norm\.", rf"\1.norm{cross}."),
        Rule(layer + r"encoder_attn\.o_proj\.", r"\1.cross_attn.out_proj."),
        Rule(layer + r"encoder_attn\.", r"\1.cross_attn."),
    )


def _with_joined_projections(found: Translation) -> Translation:
    """Queries, keys and values of an attention, three tensors, as the rows of one."""
    state, names = dict(found.state), dict(found.names)
    for query in [name for name in state if re.search(r"_attn\.q_proj\.(weight|bias)$", name)]:
        parts = [query.replace(".q_proj.", f".{part}_proj.") for part in "qkv"]
        if not all(part in state for part in parts):
            continue
        joined = query.replace(".q_proj.", ".in_proj_")
        state[joined] = torch.cat([state.pop(part) for part in parts])
        names[joined] = " + ".join(names.pop(part) for part in parts)
    return replace(found, state=state, names=names)


def _with_every_head(found: Translation) -> Translation:
    """Heads under the names that the papers' code reads, one for each layer wherever some have more than one.

    A file keeps one name of a tensor that has several: that of the decoder's copies, or that of the first layer.
    """
    state, names = dict(found.state), dict(found.names)
    kinds = ("class_embed", "bbox_embed")
    for kind in kinds:
        if not any(name.startswith(f"{kind}.") for name in state):
            for name in [name for name in state if name.startswith(f"decoder.{kind}.")]:
                own = name.removeprefix("decoder.")
                state[own], names[own] = state.pop(name), names.pop(name)
    numbers = {kind: {m[1] for name in state if (m := re.match(rf"{kind}\.(\d+)\.", name))} for kind in kinds}
    for kind, wanted in zip(kinds, reversed(numbers.values()), strict=True):
        for number in sorted(wanted - numbers[kind]) if numbers[kind] == {"0"} else ():
            for name in [name for name in state if name.startswith(f"{kind}.0.")]:
                own = name.replace(f"{kind}.0.", f"{kind}.{number}.")
                state[own], names[own] = state[name], names[name]
    return replace(found, state=state, names=names)
