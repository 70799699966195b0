"""Names of detrex's checkpoints in those of the papers' code: DETR, Conditional, DAB-, DN-, Deformable, DAB-Deformable-DETR,
DINO, Align-DETR, Stable-DINO, H- and Rank-DETR.

detrex writes the papers' detectors with mmcv's layers and detectron2's backbones. It numbers norms in the order of the steps;
the papers' deformable decoders number them by age.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from .official import from_official
from .rules import Rule, Translation, translate

RESNET = (
    Rule(r"backbone\.stem\.conv1\.norm\.", "backbone.0.body.bn1."),
    Rule(r"backbone\.stem\.", "backbone.0.body."),
    *(
        Rule(rf"backbone\.res{stage + 1}\.(\d+)\.{theirs}\.", rf"backbone.0.body.layer{stage}.\1.{ours}.")
        for stage in range(1, 5)
        for theirs, ours in {
            r"conv(\d)\.norm": r"bn\2",
            r"shortcut\.norm": "downsample.1",
            "shortcut": "downsample.0",
            r"(conv\d)": r"\2",
        }.items()
    ),
)
CONTENTS = {  # projections of an attention that compares contents and places apart
    "query_content_proj": "qcontent_proj",
    "query_pos_proj": "qpos_proj",
    "query_pos_sine_proj": "qpos_sine_proj",
    "key_content_proj": "kcontent_proj",
    "key_pos_proj": "kpos_proj",
    "value_proj": "v_proj",
}
LAYERS = (
    Rule(r"(transformer\.encoder\.layers\.\d+)\.attentions\.0\.(attn\.)?", r"\1.self_attn."),
    Rule(r"(transformer\.encoder\.layers\.\d+)\.norms\.0\.", r"\1.norm1."),
    Rule(r"(transformer\.encoder\.layers\.\d+)\.norms\.1\.", r"\1.norm2."),
    Rule(r"(transformer\.decoder\.layers\.\d+)\.norms\.2\.", r"\1.norm3."),
    Rule(r"(transformer\.\w+\.layers\.\d+)\.ffns\.0\.layers\.0\.0\.", r"\1.linear1."),
    Rule(r"(transformer\.\w+\.layers\.\d+)\.ffns\.0\.layers\.0\.1\.", r"\1.activation."),
    Rule(r"(transformer\.\w+\.layers\.\d+)\.ffns\.0\.layers\.1\.", r"\1.linear2."),
)
ADDED = (
    Rule(
        r"transformer\.encoder\.fusion_layer\.",
        None,
        "Stable-DINO joins the maps of all encoder layers, here the last one's is taken: train on",
    ),
    Rule(
        r"rank_adaptive_classhead_emb\.|transformer\.decoder\.(rank_aware_content_query|(pre|post)_racq_trans)\.",
        None,
        "Rank-DETR embeds the rank of its queries, here they have none: train on",
    ),
)
PARTS = (
    Rule(r"backbone\.", "backbone.0."),
    Rule(r"transformer\.level_embeds$", "transformer.level_embed"),
    Rule(r"query_embedding\.", "query_embed."),
    Rule(r"anchor_box_embed\.", "refpoint_embed."),
    Rule(r"denoising_generator\.label_encoder\.", "label_enc."),
    Rule(r"transformer\.decoder\.post_norm_layer\.", "transformer.decoder.norm."),
)


def from_detrex(state: Mapping[str, Tensor]) -> Translation:
    """A checkpoint of one of detrex's detectors in this project's names."""
    first = translate(state, ((*ADDED, *RESNET, *LAYERS, *_decoder_rules(state), *_neck_rules(state), *PARTS),))
    return from_official(first.state).after(first)


def settings_of(state: Mapping[str, Tensor], description: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Config keys with which this project's query detector computes what detrex's does.

    All its detectors floor the inverse sigmoid as DINO does and cut boxes at the border of their image; the deformable ones
    encode positions as Deformable DETR does.
    """
    settings = {"model.head.eps": 1e-3, "model.post_process.clip": True}
    if not _is_deformable(state):
        return settings
    return {"model.encoder.temperature": 10000.0, "model.encoder.offset": -0.5, **settings}


def _is_deformable(state: Mapping[str, Tensor]) -> bool:
    return any(name.endswith("attentions.0.sampling_offsets.weight") for name in state)


def _decoder_rules(state: Mapping[str, Tensor]) -> tuple[Rule, ...]:
    """Attentions and the norms behind them."""
    norms, layer = ((2, 1) if _is_deformable(state) else (1, 2)), r"(transformer\.decoder\.layers\.\d+)\."
    parted = any(".attentions.1.query_content_proj." in name for name in state)
    values = CONTENTS if parted else {}
    return (
        *(Rule(layer + rf"norms\.{index}\.", rf"\1.norm{norm}.") for index, norm in enumerate(norms)),
        *(
            Rule(layer + rf"attentions\.{index}\.{theirs}\.", rf"\1.{kind}_{ours}.")
            for index, kind in enumerate(("sa", "ca"))
            for theirs, ours in values.items()
        ),
        Rule(layer + r"attentions\.0\.(attn\.)?", r"\1.self_attn."),
        Rule(layer + r"attentions\.1\.(attn\.)?", r"\1.cross_attn."),
    )


def _neck_rules(state: Mapping[str, Tensor]) -> tuple[Rule, ...]:
    """Extra levels are numbered from zero again."""
    inputs = len({m[1] for name in state if (m := re.match(r"neck\.convs\.(\d+)\.", name))})
    extra = {int(m[1]) for name in state if (m := re.match(r"neck\.extra_convs\.(\d+)\.", name))}
    levels = {rf"convs\.{level}": level for level in range(inputs)}
    levels |= {rf"extra_convs\.{number}": inputs + number for number in extra}
    return tuple(
        Rule(rf"neck\.{theirs}\.{part}\.", f"input_proj.{level}.{place}.")
        for theirs, level in levels.items()
        for place, part in enumerate(("conv", "norm"))
    )
