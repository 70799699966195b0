"""detrex's names of detectors without deformable attention, by lists of names as its code gives them."""

import pytest
import torch
from support import zoo

from detassign.configs.detectors import parts, query_parts
from detassign.engine.build import build_model
from detassign.engine.config import plain
from detassign.engine.conversion.convert import convert

NAMES = tuple("abcdefg")
ENCODER = {  # ours -> detrex's, within a layer
    "attention.": "attentions.0.attn.",
    "feed_forward.linear1.": "ffns.0.layers.0.0.",
    "feed_forward.activation.": "ffns.0.layers.0.1.",
    "feed_forward.linear2.": "ffns.0.layers.1.",
    "norm1.": "norms.0.",
    "norm2.": "norms.1.",
}
PARTED = {
    "query_content.": "query_content_proj.",
    "query_position.": "query_pos_proj.",
    "query_spatial.": "query_pos_sine_proj.",
    "key_content.": "key_content_proj.",
    "key_position.": "key_pos_proj.",
    "value.": "value_proj.",
    "out_proj.": "out_proj.",
}
DECODER = {
    **{f"self_attention.{ours}": f"attentions.0.{theirs}" for ours, theirs in PARTED.items()},
    **{f"cross_attention.{ours}": f"attentions.1.{theirs}" for ours, theirs in PARTED.items()},
    "self_attention.in_proj": "attentions.0.attn.in_proj",  # DETR's own
    "cross_attention.in_proj": "attentions.1.attn.in_proj",
    **{key: value for key, value in ENCODER.items() if "attention" not in key},
    "norm3.": "norms.2.",
}
OTHERS = {
    "neck.levels.0.0.": "input_proj.",
    "encoder.position_scale.": "transformer.encoder.query_scale.",
    "queries.position.": "query_embed.",
    "queries.reference.": "transformer.decoder.ref_point_head.",
    "queries.anchors.": "anchor_box_embed.",
    "denoising.labels.": "denoising_generator.label_encoder.",
    "decoder.guide.query_scale.": "transformer.decoder.query_scale.",
    "decoder.guide.reference_size.": "transformer.decoder.ref_anchor_head.",
    "decoder.guide.reference_position.": "transformer.decoder.ref_point_head.",
    "decoder.norm.": "transformer.decoder.post_norm_layer.",
    "bbox_head.classes.0.": "class_embed.",
    "bbox_head.boxes.0.": "bbox_embed.",
}
RESNET = {"downsample.0.": "shortcut.", "downsample.1.": "shortcut.norm.", "bn1.": "conv1.norm.", "bn2.": "conv2.norm."}
FAMILIES = {
    "detr": (query_parts.detr, {}),
    "conditional_detr": (query_parts.conditional_detr, {}),
    "dab_detr": (query_parts.dab_detr, {}),
    "dn_detr": (query_parts.dab_detr, {"denoising": query_parts.DN_LABELS}),
}


def target(name):
    family, options = FAMILIES[name]
    size = query_parts.Size(hidden=32, encoder_layers=2, decoder_layers=2, queries=12, select=12)
    model = plain(family(parts.resnet(18, base_channels=8, out_indices=(3,)), (64,), size, **options))
    model["head"]["num_classes"] = len(NAMES)
    return {"name": name, "data": {"classes": list(NAMES)}, "pretrained": None, "model": model}


def replaced(name, table):
    """The name with the first beginning of the table that it has replaced."""
    return next((theirs + name.removeprefix(ours) for ours, theirs in table.items() if name.startswith(ours)), name)


def detrex_name(ours, name):
    part, _, rest = ours.partition(".layers.")
    if part in ("encoder", "decoder") and rest[0].isdigit():
        layer, _, inner = rest.partition(".")
        table = ENCODER if part == "encoder" else DECODER
        if name == "detr":
            table = {**table, "self_attention.": "attentions.0.attn.", "cross_attention.": "attentions.1.attn."}
            table = {
                key: value
                for key, value in table.items()
                if value != "attentions.0.out_proj." and value != "attentions.1.out_proj."
            }
        return f"transformer.{part}.layers.{layer}.{replaced(inner, table)}"
    if ours.startswith("backbone.layer"):
        _, stage, block, inner = ours.split(".", 3)
        return f"backbone.res{int(stage.removeprefix('layer')) + 1}.{block}.{replaced(inner, RESNET)}"
    if ours.startswith("backbone."):
        return "backbone.stem." + replaced(ours.removeprefix("backbone."), RESNET)
    return replaced(ours, OTHERS)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_tensor_of_detrexs_finds_its_place(name, tmp_path):
    """Nothing is left over on either side, and the second name of the box network is dropped as one."""
    own = zoo.randomised(build_model(target(name), initialise=False)).state_dict()
    theirs = {detrex_name(ours, name): tensor for ours, tensor in own.items() if "num_batches" not in ours}
    assert len(theirs) == sum("num_batches" not in ours for ours in own)
    if name in ("dab_detr", "dn_detr"):
        copies = {
            f"transformer.decoder.{key}": tensor for key, tensor in theirs.items() if key.startswith("bbox_embed.")
        }
        theirs |= copies
    torch.save({"model": theirs}, tmp_path / "model_final.pth")
    config, state, report = convert(target(name), tmp_path / "model_final.pth")
    assert (report.source, report.complete, report.fresh) == ("detrex", True, {})
    assert set(report.mapped.values()) | set(report.dropped) == set(theirs)
    assert set(report.dropped.values()) <= {"a second name of the heads"}
    assert all(torch.equal(state[key], tensor) for key, tensor in own.items() if "num_batches" not in key)
    assert config["model"]["post_process"]["clip"] is True
    assert "model.encoder.temperature" not in report.settings
