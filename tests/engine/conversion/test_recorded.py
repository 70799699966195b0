"""Checkpoints of query detectors with other training: what they share with the plain detectors is taken, the rest is named."""

import re

import pytest
import torch
from support.recorded import KINDS, QUERIES, Recorded

from detassign.engine.build import build_model
from detassign.engine.config import change
from detassign.engine.conversion.convert import convert

SECOND = "a second name of the heads"
WITHOUT_COUNTERPART = {  # reason -> the names that it is given for
    "ms_detr": {"of mixed, which trained besides": r"transformer\.decoder\.layers\.\d\.(linear3|linear4|norm4)\."},
    "stable_dino": {
        "Stable-DINO joins the maps of all encoder layers, here the last one's is taken: train on": (
            r"transformer\.encoder\.fusion_layer\."
        ),
    },
    "rank_detr": {
        "Rank-DETR embeds the rank of its queries, here they have none: train on": (
            r"rank_adaptive_classhead_emb|transformer\.decoder\.(rank_aware_content_query|pre_racq_trans|post_racq_trans)"
        ),
    },
    "relation_detr": {
        "the names of the classes, as numbers": "_classes_",
        "Relation-DETR's one-to-many branch, for training alone": (
            r"transformer\.(hybrid_tgt_embed|hybrid_class_head|hybrid_bbox_head)\."
        ),
        "Relation-DETR's queries attend by how their boxes lie to each other, these do not: train on": (
            r"transformer\.decoder\.position_relation_embedding\."
        ),
        "Relation-DETR joins the maps of all encoder layers, here the last one's is taken: train on": (
            r"transformer\.encoder\.memory_fusion\."
        ),
    },
    "co_dino": {
        "Co-DETR's auxiliary heads, for training alone": r"(rpn_head|roi_head|bbox_head)\.",
        "Co-DETR's auxiliary heads' coarsest map, for training alone": r"query_head\.downsample\.",
        "Co-DETR's auxiliary queries, for training alone": r"query_head\.transformer\.aux_pos_trans",
    },
    "co_deformable_detr": {
        "Co-DETR's auxiliary heads, for training alone": r"(rpn_head|roi_head|bbox_head)\.",
        "Co-DETR's auxiliary heads' coarsest map, for training alone": r"query_head\.downsample\.",
        "Co-DETR's auxiliary queries, for training alone": (
            r"query_head\.transformer\.(head_pos_embed|aux_pos_trans|pos_feats_trans|pos_feats_norm)"
        ),
    },
}
MIXED = {"model.queries.content": "mixed"}
DETREX = {"model.encoder.temperature": 10000.0, "model.encoder.offset": -0.5}
SETTINGS = {
    "align_detr": {"model.head.shared": False, "model.post_process.clip": True, **DETREX},
    "co_deformable_detr": {"model.neck.bias": False, "model.post_process.clip": True, **MIXED},
    "co_dino": {"model.neck.bias": False, "model.post_process.clip": True, "model.head.shared": False},
    "dac_detr": MIXED,
    "deta": {
        "model.queries.content": "both",
        "model.queries.select": "level_nms",
        "model.post_process.nms_iou": 0.7,
    },
    "group_detr": {},
    "h_detr": MIXED,
    "ms_detr": {"model.decoder.cross_first": True, **MIXED},
    "rank_detr": {"model.head.eps": 1e-3, "model.post_process.clip": True, **MIXED},
    "relation_detr": {
        "model.head.shared": False,
        "model.neck.bias": False,
        "model.decoder.scale_positions": True,
        **DETREX,
    },
    "stable_dino": {"model.head.shared": False, "model.post_process.clip": True, **DETREX},
}


def converted(name, folder, **changes):
    """The recorded model, its state dict, and what conversion makes of the file."""
    recorded = Recorded(name)
    state, config = recorded.state(), recorded.target()
    if name == "dac_detr":  # the one of Deformable DETR's form with denoising queries
        config["model"]["denoising"] = {"denoising": "cdn"}
    for key, value in changes.items():
        change(config, key, value)
    torch.save({"model": state}, folder / f"{name}.pth")
    return recorded, state, *convert(config, folder / f"{name}.pth", by_index=True)


@pytest.mark.parametrize("name", KINDS)
def test_every_tensor_is_taken_or_named_with_the_reason(name, tmp_path):
    """So many under each reason as there are such names; what is taken loads strictly into the plain detector."""
    recorded, state, config, weights, report = converted(name, tmp_path)
    assert (report.source, report.complete) == (recorded.source, True)
    assert set(report.mapped.values()) | set(report.dropped) == set(state)
    assert report.settings == SETTINGS[name]
    build_model(config, initialise=False).load_state_dict(weights, strict=True)
    named = {theirs: reason for theirs, reason in report.dropped.items() if reason != SECOND}
    expected = WITHOUT_COUNTERPART.get(name, {})
    assert set(named.values()) == set(expected)
    for reason, pattern in expected.items():
        matching = {theirs for theirs in state if re.match(pattern, theirs)}
        assert {theirs for theirs in named if named[theirs] == reason} == matching


@pytest.mark.parametrize("name", KINDS)
def test_the_numbers_are_those_of_the_projects_own_code(name, tmp_path):
    """What it has no counterpart of passes on what comes in; queries may come in another order (Rank-DETR sorts them)."""
    recorded, _, config, weights, _ = converted(name, tmp_path)
    detector = build_model(config, initialise=False).eval()
    detector.load_state_dict(weights)
    sizes, image = torch.tensor(recorded.content["sizes"], dtype=torch.float32), tuple(recorded.content["image"])
    with torch.no_grad():
        outputs = detector.outputs(recorded.features(), sizes, image, padded=True)
    logits, boxes = (torch.tensor(recorded.content[key]) for key in ("logits", "boxes"))
    torch.testing.assert_close(*sorted_like(outputs.logits[-1], logits), rtol=0, atol=5e-5)
    torch.testing.assert_close(*sorted_like(outputs.boxes[-1], boxes, outputs.logits[-1], logits), rtol=0, atol=5e-5)


def sorted_like(ours, theirs, our_logits=None, their_logits=None):
    """Both (B, Q, K) with the queries in the order of their first logit."""
    keys = (ours if our_logits is None else our_logits), (theirs if their_logits is None else their_logits)
    rows = torch.arange(len(ours))[:, None]
    return tuple(values[rows, key[..., 0].argsort(-1)] for values, key in zip((ours, theirs), keys, strict=True))


@pytest.mark.parametrize(
    ("name", "table", "rows", "rest"),
    [
        ("h_detr", "queries.content.weight", 36, "the one-to-many branch of H-DETR"),
        ("rank_detr", "queries.content.weight", 36, "the one-to-many branch of H-DETR"),
        ("group_detr", "queries.position.weight", 36, "further groups of Group DETR"),
    ],
)
def test_the_first_queries_are_taken_and_the_report_says_so(name, table, rows, rest, tmp_path):
    _, state, _, weights, report = converted(name, tmp_path)
    assert set(report.cut) == {table}
    assert report.cut[table].startswith(f"the first {QUERIES} of {rows} rows, the others being {rest}, ")
    assert torch.equal(weights[table], state[report.mapped[table]][:QUERIES])
    _, _, _, weights, report = converted(name, tmp_path, **{"model.queries.num_queries": rows})
    assert (report.complete, report.cut) == (True, {})
    assert torch.equal(weights[table], state[report.mapped[table]])


@pytest.mark.parametrize(
    ("name", "extra", "taken"),
    [
        ("h_detr", {"branch": {"queries": 24, "repeat": 6}}, {"extra.branch.rows.content.weight": slice(12, None)}),
        ("rank_detr", {"more": {"type": "branch", "queries": 24}}, {"extra.more.rows.content.weight": slice(12, None)}),
        (
            "group_detr",
            {"groups": {"k": 3}},
            {
                "extra.groups.rows.0.position.weight": slice(12, 24),
                "extra.groups.rows.1.position.weight": slice(24, None),
            },
        ),
    ],
)
def test_further_queries_go_to_the_extra_that_the_target_has(name, extra, taken, tmp_path):
    """So that training goes on with them."""
    _, state, config, weights, report = converted(name, tmp_path, **{"model.extra": extra})
    assert (report.complete, report.cut) == (True, {})
    for ours, rows in taken.items():
        assert torch.equal(weights[ours], state[report.mapped[ours]][rows])
    build_model(config, initialise=False).load_state_dict(weights, strict=True)


def test_ms_detrs_networks_go_to_the_extra_that_the_target_has(tmp_path):
    _, state, _, weights, report = converted("ms_detr", tmp_path, **{"model.extra": {"mixed": {"hidden": 32}}})
    assert report.complete
    layer = "transformer.decoder.layers.1"
    for ours, theirs in (("networks.1.linear1", "linear3"), ("networks.1.linear2", "linear4"), ("norms.1", "norm4")):
        assert torch.equal(weights[f"extra.mixed.{ours}.weight"], state[f"{layer}.{theirs}.weight"])


def test_as_many_further_queries_as_the_extra_has_not_are_told(tmp_path):
    _, _, _, _, report = converted("group_detr", tmp_path, **{"model.extra": {"groups": {"k": 4}}})
    assert report.missing == [f"extra.groups.rows.{group}.position.weight" for group in range(3)]
    assert report.unexplained == {
        "query_embed.weight": "24 x 256 where extra.groups.rows.2.position.weight is 12 x 256"
    }


def test_fewer_queries_than_the_detector_has_are_told(tmp_path):
    _, _, _, _, report = converted("h_detr", tmp_path, **{"model.queries.num_queries": 40})
    assert report.missing == ["queries.content.weight"]
    assert report.unexplained == {"query_embed.weight": "36 x 256 where queries.content.weight is 40 x 256"}


def test_relation_detr_says_its_classes(tmp_path):
    """Letter by letter among its tensors, so that they are taken by name."""
    recorded = Recorded("relation_detr")
    torch.save({"model": recorded.state()}, tmp_path / "relation.pth")
    config = recorded.target()
    config["data"]["classes"] = ["dog", "cat", "none"]
    _, weights, report = convert(config, tmp_path / "relation.pth")
    assert report.classes == {"dog": "dog", "cat": "cat", "none": "none"}
    theirs = recorded.state()["transformer.encoder_class_head.bias"]
    assert torch.equal(weights["bbox_head.encoder_class.bias"], theirs[[2, 1, 0]])


@pytest.mark.parametrize("name", ["h_detr", "co_deformable_detr", "relation_detr"])
def test_another_architecture_is_not_complete(name, tmp_path):
    """What the weights demand of parts that the target has not is left out, and the tensors are told."""
    recorded, other = Recorded(name), Recorded("group_detr")
    torch.save({"model": recorded.state()}, tmp_path / "file.pth")
    _, _, report = convert(other.target(), tmp_path / "file.pth", by_index=True)
    assert not report.complete
    assert "model.queries.content" not in report.settings
