"""AutoAssign against its code and mmdet's, FreeAnchor against mmdet's: bags, discounts, normalisers, losses, gradients.

Inputs are widened to float64, so what is compared is the recorded rounding and not ours.
"""

from dataclasses import replace

import pytest
import torch
from support.dense import (
    check_gradients,
    decoded,
    deviations_of,
    flat,
    grid,
    leaves,
    set_constants,
    strides_of,
    targets_of,
)
from support.golden import cases

from detassign.assigners import Assigner, Predictions, TopIoU, build, mean_max_bag
from detassign.assigners.boxes import boxes_from_distances
from detassign.assigners.distances import pair_distances


def distance_predictions(cls, dist, obj, strides, offset):
    """Predictions from maps of logits, ltrb distances in pixels and objectness; points `offset` cells from their corners."""
    points, stride_of, level_sizes = grid([m.shape[-2:] for m in cls], strides, offset)
    points, stride_of = points.double(), stride_of.double()
    boxes = boxes_from_distances(points, flat(dist))
    return Predictions(flat(cls), boxes, flat(obj)[..., 0], points, stride_of, level_sizes)


def offset_of(case):
    """Where in its cell the first recorded point sits, in cells."""
    return float(case.tensor("input/points")[0, 0] / case.tensor("input/strides")[0])


def autoassign_of(mean, sigma, constants, guarantee=0):
    """The original's form with the recorded prior, and constants of its weighting."""
    assigner = build("autoassign_original", num_classes=len(mean), guarantee=guarantee).double()
    set_constants(assigner.weighting, **constants)
    assigner.matching.mean.data.copy_(mean)
    assigner.matching.sigma.data.copy_(sigma)
    return assigner


def dense_pairs(values, matches, image, shape):
    """Values (P,) of the pairs of one image as (N, M)."""
    own = matches.image == image
    table = values.new_zeros(shape)
    table[matches.sample[own], matches.target[own]] = values[own]
    return table


def bag_weights(assigner, assignment, predictions, targets):
    """(P,) the weight of each pair's likelihood in the mean that is its object's."""
    matches, bag = assignment.matches, assigner.weighting
    scores = assigner.score(predictions)
    score = scores.log_present(matches, matches.labels(targets)).exp()
    distance = pair_distances(bag.distance, predictions, targets, matches)
    weight = (bag.aggregator.temperature * score * torch.exp(-bag.distance_scale * distance)).exp() * matches.score
    group = matches.flat_target(targets)
    return weight / weight.new_zeros(targets.mask.numel()).index_add(0, group, weight)[group]


@pytest.mark.parametrize("case", cases("dense_assign", "autoassign_official_*"))
def test_autoassign_equals_its_code(case):
    maps = leaves(case, "cls", "dist", "obj", dtype=torch.float64)
    predictions = distance_predictions(*maps.values(), strides_of(case), offset_of(case))
    targets, config = targets_of(case, case.config["batch"]), case.config
    constants = {"distance_scale": config["reg_weight"], "gamma": config["gamma"]}
    constants |= {"positive_scale": config["alpha"], "negative_scale": 1 - config["alpha"]}
    assigner = autoassign_of(case.tensor("input/mu"), case.tensor("input/sigma"), constants)
    set_constants(assigner.weighting.aggregator, temperature=config["temperature"])

    assignment, losses = assigner.assign_and_loss(predictions, targets)
    weights = bag_weights(assigner, assignment, predictions, targets)
    for image in range(case.config["batch"]):
        shape = predictions.logits.shape[1], int(targets.mask[image].sum())
        case.check(f"bag/{image}/weight", dense_pairs(weights, assignment.matches, image, shape).T)
        case.check(f"bag/{image}/prob", torch.exp(-assignment.details["bag"][image, : shape[1]]))
    case.check("loss/loss_pos", losses["loss_bag"])
    case.check("loss/loss_neg", losses["loss_cls_neg"])
    case.check("loss/loss_norm", losses["loss_center"])
    sum(losses.values()).backward()
    check_gradients(case, maps)
    case.check("grad/mu", assigner.matching.mean.grad)
    case.check("grad/sigma", assigner.matching.sigma.grad)


def kept_negatives(assignment, targets, image, shape):
    """(N, C) the weight of each class's probability in an image; of objects that share sample and class the last counts."""
    matches, kept = assignment.matches, torch.ones(shape, dtype=torch.float64)
    for place in matches.target.argsort(stable=True).tolist():
        if matches.image[place] == image:
            kept[matches.sample[place], matches.labels(targets)[place]] = 1 - assignment.details["spared"][place]
    return kept


@pytest.mark.parametrize("case", cases("dense", "loss_autoassign_*"))
def test_autoassign_equals_mmdets(case):
    head = case.config["head"]
    maps = leaves(case, "cls_score", "bbox_pred", "objectness", dtype=torch.float64)
    predictions = distance_predictions(*maps.values(), strides_of(case), case.config["point_offset"])
    targets = targets_of(case, case.config["batch"])
    prior = case.tensor("state_dict/center_prior.mean"), case.tensor("state_dict/center_prior.sigma")
    guarantee = head["topk"] if head.get("force_topk") else 0
    assigner = autoassign_of(*prior, {"distance_scale": head["loss_bbox"]["loss_weight"]}, guarantee)

    assignment, losses = assigner.assign_and_loss(predictions, targets)
    matches = assignment.matches
    case.check("intermediate/points", predictions.points)
    weights = bag_weights(assigner, assignment, predictions, targets)
    for image in range(case.config["batch"]):
        shape = predictions.logits.shape[1], int(targets.mask[image].sum())
        inside = dense_pairs(torch.ones_like(matches.score), matches, image, shape)
        case.check(f"intermediate/{image}/inside_mask", inside > 0)
        case.check(f"intermediate/{image}/center_prior", dense_pairs(matches.score, matches, image, shape))
        case.check(f"intermediate/{image}/pos_weight", dense_pairs(weights, matches, image, shape))
        kept = kept_negatives(assignment, targets, image, predictions.logits.shape[1:])
        case.check(f"intermediate/{image}/neg_weight", kept)
    case.check("norm/pos_avg_factor", assignment.normalizers[0])
    case.check("norm/neg_avg_factor", assignment.normalizers[1])
    case.check("loss/loss_pos", losses["loss_bag"])
    case.check("loss/loss_neg", losses["loss_cls_neg"])
    case.check("loss/loss_center", losses["loss_center"])
    sum(losses.values()).backward()
    check_gradients(case, maps)
    case.check("grad/center_prior.mean", assigner.matching.mean.grad)
    case.check("grad/center_prior.sigma", assigner.matching.sigma.grad)


def anchor_predictions(case, cls, reg):
    """Predictions on the recorded anchors; those of one position lie next to each other."""
    anchors = case.tensor("input/priors").double()
    per_location = reg[0].shape[1] // 4
    sizes = tuple(m.shape[-1] * m.shape[-2] * per_location for m in reg)
    logits = flat(cls).reshape(len(cls[0]), len(anchors), -1)
    deviations = deviations_of(case.config["head_config"]["bbox_coder"])
    boxes = decoded(anchors, flat(reg).reshape(len(logits), len(anchors), 4), deviations)
    strides = torch.cat([torch.full((n,), float(s)) for n, s in zip(sizes, strides_of(case), strict=True)])
    points = (anchors[:, :2] + anchors[:, 2:]) / 2
    return Predictions(logits, boxes, None, points, strides.double(), sizes, priors=anchors)


def single(predictions):
    """The same predictions in float32."""
    names = ("logits", "boxes", "points", "strides", "priors")
    return replace(predictions, **{name: getattr(predictions, name).detach().float() for name in names})


@pytest.mark.parametrize("case", cases("dense_assign", "free_anchor_*"))
def test_free_anchor_equals_mmdets(case):
    head, maps = case.config["head_config"], leaves(case, "cls", "reg", dtype=torch.float64)
    predictions = anchor_predictions(case, *maps.values())
    targets = targets_of(case, case.config["batch"])
    distance = {"type": "delta", "beta": head["loss_bbox"]["beta"], "deviations": deviations_of(head["bbox_coder"])}
    weighting = mean_max_bag(
        head["bbox_thr"], distance, head["loss_bbox"]["loss_weight"], head["alpha"], head["gamma"], negative_floor=1.0
    )
    assigner = Assigner(TopIoU(head["pre_anchor_topk"], ties="any"), weighting)
    matches = assigner.match(single(predictions), targets)  # ties are those of the recorded precision

    assignment, losses = assigner.assign_and_loss(predictions, targets, matches)
    spared = weighting.discount(predictions, targets, assignment.matches)
    for image in range(case.config["batch"]):
        own = spared.image == image
        probability = torch.zeros(predictions.logits.shape[1:], dtype=torch.float64)
        entry = spared.sample[own] * probability.shape[1] + spared.labels(targets)[own]
        probability.view(-1).scatter_reduce_(0, entry, spared.score[own], "amax")
        if f"intermediate/{image}/box_prob" in case:
            case.check(f"intermediate/{image}/box_prob", probability)
        if f"intermediate/{image}/positive_loss" in case:
            count = int(targets.mask[image].sum())
            case.check(f"intermediate/{image}/positive_loss", assignment.bag[image, :count])
    case.check("loss/positive_bag_loss", losses["loss_bag"])
    case.check("loss/negative_bag_loss", losses["loss_cls_neg"])
    sum(losses.values()).backward()
    check_gradients(case, maps)
