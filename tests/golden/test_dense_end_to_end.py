"""POTO against DeFCN's code and one-to-few against its own: quality, pairs, targets, normalisers, losses, gradients."""

import pytest
import torch
from support.dense import (
    check_gradients,
    class_loss,
    flat,
    gt_index,
    leaves,
    set_constants,
    set_focal,
    targets_of,
    weight_in,
)
from support.golden import cases
from support.small import pairs

from detassign.assigners import Predictions, build, set_progress
from detassign.assigners.boxes import boxes_from_distances, side_distances
from detassign.assigners.matching.poto import near_candidates
from detassign.assigners.soft_targets import Alignment
from detassign.heads.branch_towers import MaxFilter

PROBABILITIES = {"type": "sigmoid_objectness", "space": "probability"}
SETTINGS = {
    "poto": {},
    "argmax": {"choice": "argmax"},
    "foreground_loss": {"quality": "loss"},
    "filter": {"score": PROBABILITIES},
}


def predictions_of(case, maps, branch):
    """Distances are in pixels, from the centres of the cells."""
    points, strides = case.tensor("input/points"), case.tensor("input/strides")
    boxes = boxes_from_distances(points, flat(maps["dist"]))
    objectness = flat(maps[branch])[..., 0] if maps.get(branch) else None
    sizes = tuple(level[0, 0].numel() for level in maps["cls"])
    return Predictions(flat(maps["cls"]), boxes, objectness, points, strides, sizes)


def poto_of(case, **changes):
    config = case.config
    radius = config["center_sampling_radius"] or None
    assigner = build("poto", config["num_classes"], radius=radius, **SETTINGS[config["variant"]], **changes)
    set_poto(assigner, config)
    return assigner


def set_poto(assigner, config):
    """Give an assigner the constants of DeFCN's code."""
    set_constants(assigner.matching, alpha=config["alpha"])
    set_focal(assigner.weighting, config["focal_alpha"], config["focal_gamma"])
    set_constants(assigner.weighting, box_scale=weight_in(config["loss_box"]))


def check_quality(case, matching, predictions, targets):
    """What the matching sums, -1 (the loss: 1e8) where a point is no candidate."""
    with torch.no_grad():
        scores = matching.score(predictions)
        candidates = near_candidates(predictions, targets, matching.radius)
        value = matching.value(candidates, predictions, targets, scores)
    sign, outside = (-1.0, 1e8) if matching.quality == "loss" else (1.0, -1.0)
    table = value.new_full((*targets.mask.shape, predictions.logits.shape[1]), outside)
    table[candidates.image, candidates.target, candidates.sample] = sign * value
    for image, count in enumerate(targets.mask.sum(1).tolist()):
        if f"match/{image}/quality" in case and count:
            case.check(f"match/{image}/quality", table[image, :count])
            case.check(f"match/{image}/candidates", table[image, :count] != outside)


def check_pairs(case, matches, predictions, targets):
    """Objects, classes and side distances of the samples that have any."""
    at = matches.image, matches.sample
    index = gt_index(matches, predictions.logits.shape[:2])
    case.check("target/gt_index", index)
    labels = torch.full_like(index, case.config["num_classes"])
    labels[at] = matches.labels(targets)
    case.check("target/labels", labels)
    deltas = torch.zeros(*index.shape, 4)
    deltas[at] = side_distances(predictions.points_at(*at), matches.target_boxes(targets))
    case.check("target/deltas", deltas)


POTO_CASES = [
    case
    for case in cases("dense_assign", "poto_*")
    if case.values[0] is None or case.values[0].config.get("variant") in SETTINGS
]


@pytest.mark.parametrize("case", POTO_CASES)
def test_poto_equals_defcn(case):
    maps = leaves(case, "cls", "dist", "filter")
    predictions, targets = predictions_of(case, maps, "filter"), targets_of(case, case.config["batch"])
    argmax = case.config["variant"] == "argmax"
    assigner = poto_of(case, **({} if argmax else {"leftovers": True}))
    check_quality(case, assigner.matching, predictions, targets)
    assignment, losses = assigner.assign_and_loss(predictions, targets)

    check_pairs(case, assignment.matches, predictions, targets)
    case.check("norm/num_foreground", torch.tensor(float(len(assignment.matches.image))))
    case.check("loss/loss_cls", class_loss(losses))
    case.check("loss/loss_box_reg", losses["loss_box"])
    sum(losses.values()).backward()
    check_gradients(case, maps)


@pytest.mark.parametrize("case", POTO_CASES)
def test_by_default_potos_pairs_are_those_of_candidates(case):
    predictions = predictions_of(case, leaves(case, "cls", "dist", "filter"), "filter")
    targets, matching = targets_of(case, case.config["batch"]), poto_of(case).matching
    candidates = pairs(near_candidates(predictions, targets, matching.radius))
    recorded = case.tensor("target/gt_index")
    wanted = {(*at, int(recorded[tuple(at)])) for at in recorded.ge(0).nonzero().tolist()}
    assert pairs(matching(predictions, targets)) == wanted & candidates


def o2f_of(case):
    config = case.config
    assigner = build(
        "o2f",
        config["num_classes"],
        k=config["topk"],
        radius=config["center_sample_radius"],
        first=config["t_max"],
        last=config["t_min"],
        score=PROBABILITIES,
    )
    set_constants(assigner.matching, alpha=config["alpha"])
    set_constants(assigner.weighting.target, rank_by=Alignment(1 - config["alpha"], config["alpha"]))
    scales = {"matched_scale": config["positive_weight"], "soft_scale": config["soft_weight"]}
    scales |= {"background_scale": weight_in(config["negative"]), "box_scale": weight_in(config["loss_bbox"])}
    set_constants(assigner.weighting, **scales)
    set_progress(assigner, config["epoch"] / (config["max_epoch"] - 1))
    return assigner


def check_soft_labels(case, assignment, shape):
    """The score that each matched sample should reach and how much that counts, 0 elsewhere."""
    matches, wanted = assignment.matches, assignment.details["target"]
    label, weight = torch.zeros(2, *shape)
    label[matches.image, matches.sample] = wanted
    weight[matches.image, matches.sample] = assignment.positive.detach() / wanted.clamp(min=1e-30)
    graded = label > 0  # a soft label of 0 has no w+ that its weight could be read from
    case.check("target/soft_label", label)
    case.check("target/soft_weight", torch.where(graded, weight, case.tensor("target/soft_weight")))


@pytest.mark.parametrize("case", cases("dense_assign", "o2f_*"))
def test_one_to_few_equals_its_code(case):
    maps = leaves(case, "cls", "dist", "obj")
    predictions, targets = predictions_of(case, maps, "obj"), targets_of(case, case.config["batch"])
    assigner = o2f_of(case)
    assignment, losses = assigner.assign_and_loss(predictions, targets)
    matches = assignment.matches

    check_pairs(case, matches, predictions, targets)
    check_soft_labels(case, assignment, predictions.logits.shape[:2])
    case.check("norm/num_pos", torch.tensor(float(len(matches.image))))
    assert assignment.normalizers[0] == max(len(matches.image), 1)
    centerness = assignment.box / assigner.weighting.box_scale
    case.check("norm/centerness", centerness.sum())
    level = torch.bucketize(matches.sample, torch.tensor(predictions.level_sizes).cumsum(0), right=True)
    order = ((level * len(targets.boxes) + matches.image) * predictions.logits.shape[1] + matches.sample).argsort()
    case.check("target/centerness", centerness[order])
    case.check("loss/loss_cls", class_loss(losses))
    case.check("loss/loss_bbox", losses["loss_box"])
    sum(losses.values()).backward()
    check_gradients(case, maps)


@pytest.mark.parametrize("case", cases("dense_assign", "poto_aux_*"))
def test_auxiliary_labels_equal_defcn(case):
    maps, config = leaves(case, "cls", "dist", "filter"), case.config
    predictions, targets = predictions_of(case, maps, "filter"), targets_of(case, config["batch"])
    radius = config["center_sampling_radius"] or None
    assigner = build(
        "poto_aux", config["num_classes"], k=config["aux_topk"], radius=radius, leftovers=True, score=PROBABILITIES
    )
    main, other = assigner.assigners
    for each in assigner.assigners:
        set_poto(each, config)
    check_quality(case, main.matching, predictions, targets)
    assignment, losses = assigner.assign_and_loss(predictions, targets)
    further = other(predictions, targets).matches

    check_pairs(case, assignment.matches, predictions, targets)
    labels = torch.full(predictions.logits.shape[:2], config["num_classes"])
    labels[further.image, further.sample] = further.labels(targets)
    case.check("aux/labels", labels)
    for key, matches in (("num_foreground", assignment.matches), ("num_foreground_aux", further)):
        case.check(f"norm/{key}", torch.tensor(float(len(matches.image))))
    case.check("loss/loss_cls", class_loss(losses))
    case.check("loss/loss_box_reg", losses["loss_box"])
    case.check("loss/loss_cls_aux", class_loss(losses, "_aux"))
    assert not {name for name in losses if "box" in name} - {"loss_box"}
    sum(losses.values()).backward()
    check_gradients(case, maps)


@pytest.mark.parametrize("case", cases("dense_assign", "poto_3dmf_forward*"))
def test_max_filtering_equals_defcn(case):
    config = case.config
    tower = MaxFilter(config["channels"], config["tau"] // 2, config["kernel"], config["groups"])
    tower.load_state_dict(case.state_dict())
    features = [each.requires_grad_() for each in case.levels("input/x")]
    outputs = tower(features)
    for level, output in enumerate(outputs):
        case.check(f"output/{level}", output)
    upstream = case.levels("input/upstream_grad")
    sum((output * each).sum() for output, each in zip(outputs, upstream, strict=True)).backward()
    for level, feature in enumerate(features):
        case.check(f"grad/x/{level}", feature.grad)
    case.check("grad/conv.weight", tower.conv.weight.grad)
