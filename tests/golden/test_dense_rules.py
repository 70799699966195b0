"""YOLOF, FoveaBox, FSAF and RepPoints' points against mmdet's: pairs, normalisers, losses, gradients.

Inputs of losses are widened to float64, so what is compared is the recorded rounding and not ours.
"""

import math
from dataclasses import replace

import pytest
import torch
from support.dense import (
    check_gradients,
    class_loss,
    deviations_of,
    flat,
    grid,
    leaves,
    recorded_assigners,
    renamed,
    set_constants,
    set_focal,
    strides_of,
    targets_of,
)
from support.golden import cases

from detassign.assigners import CenterRegion, NearestPoint, Predictions, Targets, Uniform, build
from detassign.assigners.boxes import boxes_from_distances, giou
from detassign.assigners.distances import pair_distances


def one_based(matches, image, samples):
    """mmdet's convention for one image: target + 1, 0 background, -1 ignored."""
    result, own = torch.zeros(samples, dtype=torch.long), matches.image == image
    if matches.ignored is not None:
        result[matches.ignored[image]] = -1
    result[matches.sample[own]] = matches.target[own] + 1
    return result


def set_losses(weighting, head):
    """Give a weighting the constants of a head's losses."""
    loss = head["loss_cls"]
    set_focal(weighting, loss["alpha"], loss["gamma"], loss["loss_weight"])
    set_constants(weighting, box_scale=head["loss_bbox"]["loss_weight"])


@pytest.mark.parametrize("case", cases("dense_assign", "fovea_*"))
def test_foveabox_equals_mmdets(case):
    head, maps = case.config["head_config"], leaves(case, "cls", "reg", dtype=torch.float64)
    points, strides, level_sizes = grid([m.shape[-2:] for m in maps["cls"]], head["strides"])
    edges = torch.cat([torch.full((n, 1), float(e)) for n, e in zip(level_sizes, head["base_edge_list"], strict=True)])
    boxes = boxes_from_distances(points.double(), flat(maps["reg"]).exp() * edges)
    predictions = Predictions(flat(maps["cls"]), boxes, None, points.double(), strides.double(), level_sizes)
    unit = head["base_edge_list"][0] / head["strides"][0]
    assigner = build("foveabox", head["num_classes"], sigma=head["sigma"], ranges=head["scale_ranges"], unit=unit)
    set_constants(assigner.box_loss, beta=head["loss_bbox"]["beta"])
    set_losses(assigner.weighting, head)

    assignment, losses = assigner.assign_and_loss(predictions, targets_of(case, case.config["batch"]))
    assert len(assignment.positive) == len(case.tensor("call/loss_bbox/0/weight"))
    case.check("input/priors", points, "grad/cls/*")
    case.check("call/loss_cls/0/avg_factor", assignment.normalizers[0])
    case.check("call/loss_bbox/0/avg_factor", assignment.normalizers[2])
    case.check("loss/loss_cls", class_loss(losses))
    case.check("loss/loss_bbox", losses["loss_box"])
    sum(losses.values()).backward()
    check_gradients(case, maps)


def yolof_predictions(case, cls, reg):
    """Boxes of YOLOF's code: centres move by no more than so many pixels, sides by the usual limit."""
    anchors, coder = case.tensor("input/priors").double(), case.config["head_config"]["bbox_coder"]
    deltas = flat(reg).reshape(len(reg[0]), len(anchors), 4) * anchors.new_tensor(deviations_of(coder))
    middle, size = (anchors[:, :2] + anchors[:, 2:]) / 2, anchors[:, 2:] - anchors[:, :2]
    middle = middle + (deltas[..., :2] * size).clamp(-coder["ctr_clamp"], coder["ctr_clamp"])
    size = size * deltas[..., 2:].clamp(max=abs(math.log(16 / 1000))).exp()
    boxes = torch.cat([middle - size / 2, middle + size / 2], -1)
    logits = flat(cls).reshape(len(deltas), len(anchors), -1)
    (stride,) = strides_of(case)
    strides = torch.full((len(anchors),), float(stride)).double()
    points = (anchors[:, :2] + anchors[:, 2:]) / 2
    return Predictions(logits, boxes, None, points, strides, (len(anchors),), priors=anchors)


UNIFORM_NAMES = {"match_times": "k", "pos_ignore_thr": "positive_iou", "neg_ignore_thr": "negative_iou"}


def in_float32(predictions):
    names = ("logits", "boxes", "points", "strides", "priors")
    return replace(predictions, **{name: getattr(predictions, name).detach().float() for name in names})


@pytest.mark.parametrize("case", cases("dense_assign", "yolof_*"))
def test_yolof_equals_mmdets(case):
    """The original pulls boxes towards every object that chose a sample, so boxes are compared over all that was chosen."""
    head, maps = case.config["head_config"], leaves(case, "cls", "reg", dtype=torch.float64)
    predictions, targets = yolof_predictions(case, *maps.values()), targets_of(case, case.config["batch"])
    rule = {"match_times": 4} | head["train_cfg"]["assigner"]  # mmdet's default
    assigner = build("yolof", head["num_classes"], conflict="last")
    set_constants(assigner.matching, **renamed(rule, UNIFORM_NAMES))
    set_losses(assigner.weighting, head)
    single, targets = (
        in_float32(predictions),
        targets.to("cpu", torch.float32),
    )  # ties are those of the recorded precision
    matches, chosen = assigner.match(single, targets), assigner.matching.chosen(single, targets)

    assignment, losses = assigner.assign_and_loss(predictions, targets, matches)
    for image in range(case.config["batch"]):
        found = one_based(assignment.matches, image, predictions.logits.shape[1]) - 1
        case.check(f"assign/assigner/{image}/gt_index", found)
    case.check("call/loss_cls/0/avg_factor", assignment.normalizers[0])
    case.check("call/loss_bbox/0/avg_factor", assignment.normalizers[2])
    weight = (chosen.score >= assigner.matching.positive_iou).double()
    chosen_by_image = torch.cat([weight[chosen.image == image] for image in range(case.config["batch"])])
    case.check("call/loss_bbox/0/weight", chosen_by_image)
    distance = 1 - giou(chosen.predicted_boxes(predictions), chosen.target_boxes(targets).double())
    distance = head["loss_bbox"]["loss_weight"] * distance
    box = (weight * distance).sum() / assignment.normalizers[2]
    case.check("loss/loss_cls", class_loss(losses))
    case.check("loss/loss_bbox", box)
    (class_loss(losses) + box).backward()
    check_gradients(case, maps)


def assigner_inputs(case, points, strides, priors, rows=slice(None)):
    """Inputs of mmdet's assigners, of some samples."""
    boxes, labels = case.tensor("gt/0/boxes").reshape(-1, 4), case.tensor("gt/0/labels").long()
    logits, predicted = case.tensor("input/cls_logits")[None, rows], case.tensor("input/pred_boxes")[None, rows]
    geometry = [None if each is None else each[rows] for each in (points, strides, priors)]
    predictions = Predictions(logits, predicted, None, *geometry[:2], priors=geometry[2])
    return predictions, Targets.from_lists([boxes], [labels])


@pytest.mark.parametrize(("case", "name"), recorded_assigners("PointAssigner"))
def test_nearest_points_equal_mmdets(case, name):
    rule, points = case.config["assigners"][name], case.tensor("input/points_stride")
    predictions, targets = assigner_inputs(case, points[:, :2], points[:, 2], None)
    matches = NearestPoint(**renamed(rule, {"pos_num": "k", "scale": "scale"}))(predictions, targets)
    case.check(f"out/{name}/gt_inds", one_based(matches, 0, len(points)))
    labels = torch.full((len(points),), -1)
    labels[matches.sample] = matches.labels(targets)
    case.check(f"out/{name}/labels", labels)


@pytest.mark.parametrize(("case", "name"), recorded_assigners("UniformAssigner"))
def test_uniform_matching_equals_mmdets_assigner(case, name):
    """Recorded on the second level alone."""
    rule, anchors = case.config["assigners"][name], case.tensor("input/anchors")
    first, second = case.tensor("input/num_level_priors").tolist()[:2]
    points, strides = (anchors[:, :2] + anchors[:, 2:]) / 2, anchors[:, 2] - anchors[:, 0]
    predictions, targets = assigner_inputs(case, points, strides, anchors, slice(first, first + second))
    matching = Uniform(**renamed(rule, UNIFORM_NAMES), conflict="last")
    chosen = matching.chosen(predictions, targets)
    case.check(f"out/{name}/target_boxes", chosen.target_boxes(targets))
    case.check(f"out/{name}/pos_predicted_boxes", chosen.predicted_boxes(predictions))
    case.check(f"out/{name}/pos_idx", chosen.score >= rule["pos_ignore_thr"])
    case.check(f"out/{name}/gt_inds", one_based(matching(predictions, targets), 0, second))


def fsaf_predictions(case, cls, reg):
    """Boxes of FSAF's code, from distances to top, bottom, left and right in quarters of the cell's sides."""
    cells, scale = case.tensor("input/priors").double(), case.config["head_config"]["bbox_coder"]["normalizer"]
    points, size = (cells[:, :2] + cells[:, 2:]) / 2, cells[:, 2:] - cells[:, :2]
    top, bottom, left, right = (flat(reg).clamp(min=1e-4) * scale).unbind(-1)
    distances = torch.stack([left * size[:, 0], top * size[:, 1], right * size[:, 0], bottom * size[:, 1]], -1)
    level_sizes = tuple(m.shape[-2:].numel() for m in cls)
    boxes = boxes_from_distances(points, distances)
    return Predictions(flat(cls), boxes, None, points, size[:, 0], level_sizes, priors=cells)


def by_level(of_pairs, predictions, matches, of_samples=0.0):
    """Sums (levels,) of losses of pairs (P,) and samples (B, N)."""
    zeros = torch.zeros_like(predictions.logits[..., 0])
    every = of_samples + zeros.index_put((matches.image, matches.sample), of_pairs, accumulate=True)
    return torch.stack([level.sum() for level in every.split(predictions.level_sizes, 1)])


@pytest.mark.parametrize("case", cases("dense_assign", "fsaf_*"))
def test_fsaf_equals_mmdets(case):
    head, maps = case.config["head_config"], leaves(case, "cls", "reg", dtype=torch.float64)
    rule, images = head["train_cfg"]["assigner"], case.config["batch"]
    predictions, targets = fsaf_predictions(case, *maps.values()), targets_of(case, images).to("cpu", torch.float64)
    assigner = build(
        "fsaf", head["num_classes"], core=rule["pos_scale"], least_share=rule["min_pos_iof"], foreground_dominates=False
    )
    set_constants(assigner.matching.matching, surroundings=rule["neg_scale"])
    set_losses(assigner.weighting, head)
    candidates = assigner.matching.matching(predictions, targets)
    for image in range(images):
        found = one_based(candidates, image, predictions.logits.shape[1]) - 1
        case.check(f"assign/assigner/{image}/gt_index", found)

    assignment, losses = assigner.assign_and_loss(predictions, targets)
    case.check("stat/num_pos", assignment.normalizers[:1] / images)
    scores, matches = assigner.score(predictions), assignment.matches
    pulled = assignment.positive * -scores.log_present(matches, matches.labels(targets))
    pushed = (assignment.negative * -scores.log_absent).sum(-1)
    case.check("loss/loss_cls", by_level(pulled, predictions, matches, pushed) / assignment.normalizers[0])
    fit = pair_distances(assigner.box_loss, predictions, targets, matches)
    fit = assignment.box * fit
    case.check("loss/loss_bbox", by_level(fit, predictions, matches) / assignment.normalizers[2])
    sum(losses.values()).backward()
    check_gradients(case, maps)


REGION_NAMES = {
    "pos_scale": "core",
    "neg_scale": "surroundings",
    "min_pos_iof": "least_share",
    "foreground_dominate": "foreground_dominates",
    "ignore_gt_scale": "ignore_scale",
}
REGION_DEFAULTS = {"foreground_dominate": False, "ignore_gt_scale": 0.5}


@pytest.mark.parametrize(("case", "name"), recorded_assigners("CenterRegionAssigner"))
def test_center_regions_equal_mmdets(case, name):
    recorded, cells = case.config["assigners"][name], case.tensor("input/point_boxes")
    predictions, targets = assigner_inputs(case, (cells[:, :2] + cells[:, 2:]) / 2, cells[:, 2] - cells[:, 0], cells)
    if "ignore_gt_scale" in recorded and "gt/0/ignore_boxes" in case:  # the others were not told of ignore boxes
        ignore = case.tensor("gt/0/ignore_boxes").reshape(-1, 4)[None]
        targets = replace(targets, ignore_boxes=ignore, ignore_mask=torch.ones(ignore.shape[:2], dtype=torch.bool))
    matches = CenterRegion(**renamed(REGION_DEFAULTS | recorded, REGION_NAMES))(predictions, targets)
    case.check(f"out/{name}/gt_inds", one_based(matches, 0, len(cells)))
    labels = torch.full((len(cells),), -1)
    labels[matches.sample] = matches.labels(targets)
    case.check(f"out/{name}/labels", labels)
    shape = (len(cells), predictions.logits.shape[2])
    wanted = torch.zeros(shape, dtype=torch.bool)
    wanted[tuple(case.tensor(f"out/{name}/shadowed_labels").long().T)] = True
    if matches.ignored is not None:
        wanted &= ~matches.ignored[0, :, None]
    assert (matches.spared_entries(targets, (1, *shape))[0] == wanted).all()
