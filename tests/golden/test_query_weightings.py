"""The class losses and costs of the DETR family's later members, as their own code recorded them."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.golden import cases
from support.query_assign import DETREX, RT_DETR, Checked, Output, match_costs, outputs

from detassign.assigners import Assigner, Hungarian, build
from detassign.assigners.progress import set_progress
from detassign.assigners.weighting import (
    focal,
    giou_focal,
    ia_bce,
    position_supervised,
    quality_focal,
    varifocal,
)

EPS = 1e-6  # added to union and hull in detrex, but not where weights and costs were recorded


def scales(case, name="loss_class", ending=""):
    """The coefficients of the losses of classes, L1 and GIoU."""
    return {each: case.config["coefficients"][each + ending] for each in (name, "loss_bbox", "loss_giou")}


def box_loss(case, eps=0.0, giou="loss_giou"):
    weights = case.config["coefficients"]
    return {"relative_l1": weights["loss_bbox"], "relative_giou": {"weight": weights[giou], "eps": eps}}


@pytest.mark.parametrize(
    "case", [each for name in ("rt_detr", "dfine", "deim") for each in cases("query_assign", f"{name}_*")]
)
def test_varifocal_and_matchability_equal_rt_detrs_d_fines_and_deims(case):
    """Boxes that learn from the union of all layers' pairs are left out; losses are recorded with their coefficients."""
    config, kind = case.config, case.config["losses"][0]
    alpha = {"vfl": config["alpha"], "mal": 1.0 if config["mal_alpha"] is None else config["mal_alpha"]}[kind]
    assigner = build(kind, config["num_classes"], alpha=alpha, gamma=config["gamma"])
    checked = Checked(case, RT_DETR, dict.fromkeys((f"loss_{kind}", "loss_bbox", "loss_giou"), 1.0))
    union = any(key.startswith("match/go/") for key in case.arrays)
    for output in outputs(case, "", "pre", "enc"):
        checked.add(output, assigner, "norm/match", scales={f"loss_{kind}": 1.0} if union else None)
    for output in outputs(case, "dn"):
        checked.add(output, assigner, "norm/dn", output.denoising_pairs())
    if not union:
        checked.check_total()
    checked.check_gradients(*["logits"] * union)


@pytest.mark.parametrize("case", cases("query_assign", "align_detr_*"))
def test_ia_bce_with_rank_decay_equals_align_detrs(case):
    """Given the recorded pairs where layers before the last differ in their number of queries per object."""
    of_encoder, *of_layers = case.config["match_number"]
    checked = Checked(case, DETREX, scales(case))
    for output in outputs(case, "", "enc"):
        copies = [of_encoder] if output.kind else of_layers
        assigner, weighed = (align(case, eps, copies) for eps in (EPS, 0.0))
        known = None if len(set(copies[:-1])) < 2 else output.recorded_pairs()
        assignment = checked.add(output, assigner, "norm/match", known, weighed=weighed)
        output.check_box_weights(assignment)
    for output in outputs(case, "dn"):
        assigner = Assigner("hungarian", align_weighting(case, EPS), box_loss=box_loss(case, EPS))
        checked.add(output, assigner, "norm/dn", output.denoising_pairs())
    checked.check_total()
    checked.check_gradients()


def align(case, eps, copies):
    """Align-DETR as its code has it, with so many queries per object in the layers before the last, and in it."""
    matching = Hungarian(match_costs(case, eps), copies[0], copies[-1], share=0.5, carry=True)
    weighting = align_weighting(case, eps, rank_decay=case.config["tau"], count="targets_once")
    return Assigner(matching, weighting, box_loss=box_loss(case, eps))


def align_weighting(case, eps, **settings):
    config = case.config
    return ia_bce(config["alpha"], 1 - config["alpha"], config["quality_floor"], config["gamma"], eps, **settings)


@pytest.mark.parametrize("case", cases("query_assign", "align_detr_*"))
def test_the_preset_with_the_originals_bound_is_align_detr(case):
    _, *copies = case.config["match_number"]
    settings = {"k": copies[0], "final_k": copies[-1], "rank_decay": case.config["tau"]}
    assigner = build("align", case.config["num_classes"], carry=True, **settings)
    check_alike(assigner, align(case, EPS, copies))


def check_alike(assigner, original):
    for part in ("matching", "weighting", "box_loss"):
        assert repr(getattr(assigner, part)) == repr(getattr(original, part))


@pytest.mark.parametrize("case", cases("query_assign", "stable_dino_*"))
def test_position_supervision_equals_stable_dinos(case):
    """Costs are recorded with 1 - GIoU."""
    checked, noised = Checked(case, DETREX, scales(case)), scales(case, ending="_dn")
    for output in outputs(case, "", "enc"):
        assigner, weighed = (stable(case, checked.scales, eps) for eps in (EPS, 0.0))
        checked.add(output, assigner, "norm/match", weighed=weighed)
        output.check_cost(weighed.matching, case.config["match_cost"]["giou"])
    for output in outputs(case, "dn"):
        checked.add(output, stable(case, noised, EPS), "norm/dn", output.denoising_pairs(), scales=noised)
    checked.check_total()
    checked.check_gradients()


def stable(case, weights, eps):
    """Stable-DINO as its code has it."""
    config = case.config
    power = max(config["cec_beta"], 0.0)
    modulated = {"type": "position_focal", "weight": config["match_cost"]["focal"], "power": power, "eps": eps}
    modulated["position"] = "last_of_class"
    weighting = position_supervised(
        config["ta_alpha"], config["ta_beta"], config["alpha"], config["gamma"], eps, weights["loss_class"]
    )
    return Assigner(Hungarian({**match_costs(case, eps), "focal": modulated}), weighting, box_loss=box_loss(case, eps))


@pytest.mark.parametrize("case", cases("query_assign", "stable_dino_*"))
def test_the_preset_with_the_originals_positions_is_stable_dino(case):
    settings = {"power": max(case.config["cec_beta"], 0.0), "class_scale": scales(case)["loss_class"]}
    settings |= {"score_power": case.config["ta_alpha"], "iou_power": case.config["ta_beta"]}
    assigner = build("stable", case.config["num_classes"], position="last_of_class", **settings)
    check_alike(assigner, stable(case, scales(case), EPS))


@pytest.mark.parametrize("case", cases("query_assign", "rank_detr_*"))
def test_giou_aware_focal_equals_rank_detrs(case):
    """After an image with more objects than queries the original's targets, and so its losses of classes, are other objects'.

    The weights are recorded with the right ones. Late pairs whose boxes do not meet are tied.
    """
    config = case.config
    wrong = config["training"] and max(config["objects"][:-1], default=0) > config["queries"]
    checked = Checked(case, DETREX, scales(case))
    for output in outputs(case, "", "enc"):
        by_giou = config["training"] and output.kind != "enc"
        if output.kind == "enc":
            output.targets = replace(output.targets, labels=torch.zeros_like(output.targets.labels))
        assigner, weighed = rank(case, by_giou), rank_without_eps(case, by_giou)
        output.check_cost(weighed.matching)
        pairs, cost = (get(output.predictions, output.targets) for get in (assigner.match, assigner.matching.cost))
        output.check_costly_pairs(pairs, cost)
        compared = {name: scale for name, scale in checked.scales.items() if not wrong or name != "loss_class"}
        checked.add(output, assigner, "norm", output.recorded_pairs(), compared, weighed)
    if not wrong:
        checked.check_total()
    checked.check_gradients(*["boxes"] * wrong)


def rank(case, by_giou):
    """The preset at the time of a case."""
    config, change = case.config, 0.75
    settings = {"iou_power": config["iou_order_alpha"], "class_scale": scales(case)["loss_class"]}
    assigner = build("rank", config["num_classes"], high_order_from=change, by_giou=by_giou, **settings)
    set_progress(assigner, min(change * config["iteration"] / config["matcher_change_iter"], 1.0))
    assert ("alignment" in assigner.current.matching.costs) == config["high_order"]
    return assigner


def rank_without_eps(case, by_giou):
    high_order = {"alignment": {"iou_power": case.config["iou_order_alpha"]}}
    settings = {**case.config["focal"], "class_scale": scales(case)["loss_class"]}
    weighting = giou_focal(**settings) if by_giou else focal(**settings)
    return Assigner(Hungarian(high_order if case.config["high_order"] else None), weighting)


@pytest.mark.parametrize("case", cases("query_assign", "relation_detr_*"))
def test_varifocal_equals_relation_detrs(case):
    alpha, gamma = case.config["vfl"]["negative_factor"], case.config["vfl"]["gamma"]
    weighting = varifocal(alpha, gamma, "one", 1.0, detach=True, count="targets")
    assigner = Assigner(Hungarian(match_costs(case)), weighting, box_loss=box_loss(case))
    checked = Checked(case, DETREX, scales(case))
    for output in outputs(case, "", "enc"):
        checked.add(output, assigner, "norm/o2o")
    checked.add(Output(case, "hybrid", copies=case.config["hybrid_assign"]), assigner, "norm/hybrid")
    checked.check_total()
    checked.check_gradients()


LW_DETR = {
    "ia_bce_loss": lambda alpha, gamma: ia_bce(alpha, 1 - alpha, gamma=gamma, count="targets_once"),
    "use_varifocal_loss": lambda alpha, gamma: varifocal(1 - alpha, gamma, "one", 1.0, count="targets_once"),
    "use_position_supervised_loss": lambda alpha, gamma: position_supervised(
        0.0, 1.0, alpha, gamma, count="targets_once"
    ),
}


@pytest.mark.parametrize("case", cases("query_assign", "lw_detr_*"))
def test_class_losses_equal_lw_detrs(case):
    """Queries are matched in groups; every object is there once for each group that losses are averaged over.

    With a target of 0 a pair is no pair for the original's classes.
    """
    config, groups = case.config, case.config["groups"]
    chosen = [make for flag, make in LW_DETR.items() if config.get(flag)]
    weighting = chosen[0](**config["focal"]) if chosen else focal(**config["focal"], count="targets_once")
    classes = Assigner(Hungarian(match_costs(case)), weighting, box_loss=None)
    boxes = Assigner("hungarian", focal(class_scale=0.0, count="targets_once"), box_loss=box_loss(case))
    checked = Checked(case, DETREX, {})
    class_scale, *box_scales = ({name: scale} for name, scale in scales(case, "loss_ce").items())
    for output in outputs(case, "", "enc", copies=1 if config.get("sum_group_losses") else groups):
        pairs = output.match_in_groups(classes.matching, groups)
        output.check_pairs(pairs)
        target = classes(output.predictions, output.targets, pairs).details["target"]
        checked.add(output, classes, "norm", pairs.select(target > 0), class_scale)
        checked.add(output, boxes, "norm", pairs, box_scales[0] | box_scales[1])
    checked.check_total()
    checked.check_gradients()


@pytest.mark.parametrize("case", cases("query_assign", "co_*"))
def test_ordinary_queries_equal_co_detrs(case):
    """Losses are recorded with their coefficients."""
    config, names = case.config, ("loss_cls", "loss_bbox", "loss_iou")
    weighting = {
        "dino": quality_focal(config["quality_focal_beta"], "one", 1.0),
        "deformable": focal(class_scale=config["coefficients"]["loss_cls"]),
    }[config["head"]]
    assigner = Assigner(Hungarian(match_costs(case)), weighting, box_loss=box_loss(case, giou="loss_iou"))
    output = Output(case, "query", sizes=case.tensor("input/sizes_hw").flip(-1))
    checked = Checked(case, {"query": ("", "")}, dict.fromkeys(names, 1.0))
    checked.add(output, assigner, "norm/query")
    checked.check_gradients()


@pytest.mark.parametrize("case", cases("query_assign", "ddq_aux_*"))
def test_task_aligned_focal_equals_ddqs_dense_part(case):
    """Losses are recorded image by image."""
    config, iou_power = case.config, float(re.fullmatch(r"p x IoU\^(\d+)", case.config["metric"]).group(1))
    assigner = build(
        "ddq_dense", config["num_classes"], k=config["topk"], iou_power=iou_power, negatives="with_targets"
    )
    assert assigner.weighting.gamma == config["quality_focal_beta"]
    assert assigner.weighting.box_scale == config["giou_weight"]
    output = Output(case, sizes=case.tensor("input/sizes_hw").flip(-1), pixels=True)
    output.check_cost(assigner.matching, key="cost/{image}")

    assignment, losses = assigner.assign_and_loss(output.predictions, output.targets)
    output.check_pairs(assignment.matches)
    output.check_weights(assignment)
    for which in (0, 2):
        output.check_norms(assignment, "norm", which)
    terms = {"loss_cls": losses["loss_cls_pos"] + losses["loss_cls_neg"], "loss_bbox": losses["loss_box"]}
    for name, value in terms.items():
        recorded, entry = case.levels(f"loss/{name}"), case.sidecar["tolerance"][f"loss/{name}/*"]
        tolerance = {"rtol": entry["rtol"], "atol": entry["atol"] * len(recorded)}
        np.testing.assert_allclose(value.sum().item(), sum(recorded), **tolerance)
    total = sum(value.sum() for value in losses.values())
    case.check("loss_total", total)
    total.backward()
    output.check_gradients()
