"""SimOTA, RTMDet's dynamic soft labels and LLA against the authors' code: costs, k, pairs, normalisers, losses, gradients."""

import pytest
import torch
from support.criterion import set_costs
from support.dense import (
    check_gradients,
    check_sum,
    class_loss,
    flat,
    grid,
    gt_index,
    leaves,
    recorded_assigners,
    renamed,
    set_constants,
    set_focal,
    strides_of,
    targets_of,
    weight_in,
)
from support.golden import cases

from detassign.assigners import MATCHINGS as REGISTERED
from detassign.assigners import Predictions, Targets, build
from detassign.assigners.boxes import boxes_from_distances
from detassign.assigners.costs import cost_as_background, overlaps
from detassign.assigners.matching.regions import Region
from detassign.assigners.matching.sinkhorn import sinkhorn


def geometry(case, maps, offset):
    """Points, strides and level sizes of the case's maps."""
    return grid([tuple(m.shape[-2:]) for m in maps], strides_of(case), offset)


def yolox_predictions(case, cls, reg, branch, offset=0.5):
    """Boxes of dx, dy from the corner of the cell and log sides, in strides; points at the centres of the cells."""
    points, strides, sizes = geometry(case, cls, offset)
    raw, corner = flat(reg), points - offset * strides[:, None]
    middle, half = corner + raw[..., :2] * strides[:, None], raw[..., 2:].exp() * strides[:, None] / 2
    boxes = torch.cat([middle - half, middle + half], -1)
    return Predictions(flat(cls), boxes, flat(branch)[..., 0], points, strides, sizes)


def distance_predictions(case, cls, distances, branch=None, *, offset):
    """Boxes of distances in pixels from points that lie `offset` cells from the corners of theirs."""
    points, strides, sizes = geometry(case, cls, offset)
    boxes = boxes_from_distances(points, flat(distances))
    return Predictions(flat(cls), boxes, branch and flat(branch)[..., 0], points, strides, sizes)


def recorded_costs(case, matching, predictions, targets, image):
    """Samples that are looked at, their costs with penalty (G, V), IoUs (G, V) and k (G,) of one image."""
    one = Predictions(
        predictions.logits[image : image + 1],
        predictions.boxes[image : image + 1],
        None if predictions.objectness is None else predictions.objectness[image : image + 1],
        predictions.points,
        predictions.strides,
        predictions.level_sizes,
    )
    count = int(targets.mask[image].sum())
    own = Targets(*(getattr(targets, name)[image : image + 1, :count] for name in ("boxes", "labels", "mask")))
    with torch.no_grad():
        samples, index = matching._looked_at(one, own)
        overlap = overlaps(samples, own)
        key = matching._key(samples, own, overlap, cost_as_background(matching.costs, samples))
        return index[0], key[0], overlap[0].t(), matching._counts(overlap, samples)[0]


YOLOX_BRANCH = {"type": "foreground", "least_per_image": 0}
NAMES = {"main": "simota", "0.3.0": "simota_v1"}


def yolox_assigner(case):
    config = case.config
    l1_from = 0.5 if config["use_l1"] else None
    assigner = build(
        NAMES[config["version"]],
        num_classes=config["num_classes"],
        radius=config["center_radius"],
        top=config["candidate_topk"],
        l1_from=l1_from,
        branch=YOLOX_BRANCH,
    )
    if l1_from is not None:
        assigner.progress.share = 1.0
        assigner = assigner.current
    set_yolox(assigner, config)
    return assigner


def set_yolox(assigner, config):
    """Give an assigner the weights of YOLOX's costs and losses; that of its L1 loss is 1 beside `reg_weight`."""
    set_costs(assigner, [config["cls_weight"], config["iou_weight"]])
    set_constants(assigner.matching, penalty=config["penalty"])
    set_constants(assigner.matching.costs["iou_log"].part, eps=config["iou_eps"])
    set_constants(assigner.weighting, box_scale=config["reg_weight"])
    if config["use_l1"]:
        l1 = assigner.box_loss["log_size_l1"]._replace(weight=1 / config["reg_weight"])
        assigner.box_loss = {**assigner.box_loss, "log_size_l1": l1}


@pytest.mark.parametrize("case", cases("dense_assign", "simota_yolox*"))
def test_simota_equals_yolox(case):
    maps = leaves(case, "cls", "reg", "obj")
    predictions = yolox_predictions(case, *maps.values())
    targets, assigner = targets_of(case, case.config["batch"]), yolox_assigner(case)
    torch.testing.assert_close(predictions.points, case.tensor("input/points"))
    assignment, losses = assigner.assign_and_loss(predictions, targets)
    matches = assignment.matches

    case.check("target/gt_index", gt_index(matches, predictions.logits.shape[:2]))
    overlap = torch.zeros(predictions.logits.shape[:2])
    overlap[matches.image, matches.sample] = matches.score
    case.check("target/iou", overlap)
    for image in range(len(targets.boxes)):
        if f"match/{image}/cost" in case and targets.mask[image].any():
            index, cost, ious, counts = recorded_costs(case, assigner.matching, predictions, targets, image)
            case.check(f"match/{image}/cost", cost.float())
            case.check(f"match/{image}/ious", ious)
            case.check(f"match/{image}/k", counts)
            candidates = torch.zeros(predictions.logits.shape[1], dtype=torch.bool)
            candidates[index] = True
            case.check(f"match/{image}/candidates", candidates)
    case.check("norm/num_fg", torch.tensor(float(len(matches.image))))
    assert assignment.normalizers[0] == max(len(matches.image), 1)
    case.check("loss/iou", losses["loss_box"])
    case.check("loss/obj", losses["loss_objectness"])
    case.check("loss/cls", class_loss(losses))
    case.check("loss/total", sum(losses.values()))
    case.check("loss/l1", losses.get("loss_log_size_l1", torch.tensor(0.0)))
    sum(losses.values()).backward()
    check_gradients(case, maps)


@pytest.mark.parametrize("case", cases("dense_assign", "simota_mmdet_*"))
def test_simota_equals_mmdet(case):
    maps = leaves(case, "cls", "reg", "extra")
    predictions = yolox_predictions(case, *maps.values())
    targets = targets_of(case, case.config["batch"])
    radius = case.config["head_config"]["train_cfg"]["assigner"]["center_radius"]
    assigner = build("simota_mmdet", num_classes=case.config["num_classes"], radius=radius, branch=YOLOX_BRANCH)
    assignment, losses = assigner.assign_and_loss(predictions, targets)

    check_assigned(case, assignment, predictions)
    case.check("loss/loss_cls", class_loss(losses))
    case.check("loss/loss_bbox", losses["loss_box"])
    case.check("loss/loss_obj", losses["loss_objectness"])
    sum(losses.values()).backward()
    check_gradients(case, maps)


def check_assigned(case, assignment, predictions, prefix="assign/assigner"):
    """mmdet's 1-based index and its overlaps, where a sample has a target."""
    matches = assignment.matches
    shape = predictions.logits.shape[:2]
    index, overlap = gt_index(matches, shape), torch.zeros(shape)
    overlap[matches.image, matches.sample] = matches.score
    for image in range(shape[0]):
        if f"{prefix}/{image}/gt_index" in case:
            case.check(f"{prefix}/{image}/gt_index", index[image])
            recorded, held = case.tensor(f"{prefix}/{image}/overlaps"), index[image] >= 0
            torch.testing.assert_close(overlap[image][held], recorded[held], rtol=1e-4, atol=5e-6)


@pytest.mark.parametrize("case", cases("dense_assign", "rtmdet_*"))
def test_dynamic_soft_labels_equal_rtmdet(case):
    maps = leaves(case, "cls", "reg")
    head = case.config["head_config"]
    predictions = distance_predictions(case, *maps.values(), offset=head["anchor_generator"]["offset"])
    targets = targets_of(case, case.config["batch"])
    top = head["train_cfg"]["assigner"]["topk"]
    assigner = build("rtmdet", num_classes=case.config["num_classes"], top=top)
    scales = {"class_scale": head["loss_cls"]["loss_weight"], "box_scale": head["loss_bbox"]["loss_weight"]}
    set_constants(assigner.weighting, gamma=head["loss_cls"]["beta"], **scales)
    assignment, losses = assigner.assign_and_loss(predictions, targets)

    check_assigned(case, assignment, predictions)
    for level, on_level in enumerate(pairs_by_level(predictions, assignment.matches)):
        if f"call/loss_bbox/{level}/weight" in case:
            case.check(f"call/loss_bbox/{level}/weight", assignment.details["target"][on_level])
    for name, value in (("loss_cls", class_loss(losses)), ("loss_bbox", losses["loss_box"])):
        check_sum(case, f"loss/{name}", value)
    sum(losses.values()).backward()
    check_gradients(case, maps)


def pairs_by_level(predictions, matches):
    """For each level whether a pair's sample (P,) lies on it."""
    ends = torch.tensor(predictions.level_sizes).cumsum(0)
    return torch.bucketize(matches.sample, ends, right=True) == torch.arange(len(ends))[:, None]


def transport_predictions(case, maps):
    """Distances in pixels; the recorded points say where in its cell each stands."""
    offset = float(case.tensor("input/points")[0, 0] / case.tensor("input/strides")[0])
    predictions = distance_predictions(case, maps["cls"], maps["dist"], maps["iou"], offset=offset)
    torch.testing.assert_close(predictions.points, case.tensor("input/points"))
    return predictions


def set_transport(assigner, config, weight):
    """Give an assigner the constants that OTA and LLA share; `weight` of -log IoU in the cost."""
    set_costs(assigner, [1.0, weight])
    set_constants(assigner.matching.costs["focal_loss"].part, alpha=config["focal_alpha"], gamma=config["focal_gamma"])
    set_focal(assigner.weighting, config["focal_alpha"], config["focal_gamma"])
    set_constants(assigner.weighting, box_scale=weight_in(config["loss_box"]))
    set_constants(assigner.branch, weight=weight_in(config["loss_iou"]))


def check_transport_losses(case, losses, scale=1.0):
    """The three losses that OTA and LLA share."""
    case.check("loss/loss_cls", scale * class_loss(losses))
    case.check("loss/loss_box_reg", scale * losses["loss_box"])
    case.check("loss/loss_iou", scale * losses["loss_iou"])


def split_ignored(case):
    """Targets of the case without those of class -1, those as ignore regions, and for each image what index which has."""
    boxes, labels, ignored, order = [], [], [], []
    for image in range(case.config["batch"]):
        label, box = case.tensor(f"gt/{image}/labels").long(), case.tensor(f"gt/{image}/boxes").reshape(-1, 4)
        boxes.append(box[label >= 0]), labels.append(label[label >= 0]), ignored.append(box[label < 0])
        order.append((label >= 0).nonzero()[:, 0])
    return Targets.from_lists(boxes, labels, ignored), order


@pytest.mark.parametrize("case", cases("dense_assign", "ota_*"))
def test_ota_equals_its_authors_code(case):
    maps, config = leaves(case, "cls", "dist", "iou"), case.config
    predictions, targets = transport_predictions(case, maps), targets_of(case, config["batch"])
    assigner = build(
        "ota",
        num_classes=config["num_classes"],
        radius=config["center_radius"],
        top=config["top_candidates"],
        without_candidates="transport",
    )
    set_transport(assigner, config, config["reg_weight"])
    sinkhorn_constants = {"eps": config["sinkhorn_eps"], "iterations": config["sinkhorn_iter"]}
    set_constants(assigner.matching, margin=config["inside_margin"], **sinkhorn_constants)
    assignment, losses = assigner.assign_and_loss(predictions, targets)
    matches = assignment.matches

    index = gt_index(matches, predictions.logits.shape[:2])
    case.check("target/gt_index", index)
    case.check("norm/num_foreground", torch.tensor(float(len(matches.image))))
    case.check("target/ious", recorded_overlaps(case, predictions, matches))
    for image in range(config["batch"]):
        check_plan(case, assigner.matching, predictions, targets, image)
    check_transport_losses(case, losses)
    sum(losses.values()).backward()
    check_gradients(case, maps)


def recorded_overlaps(case, predictions, matches):
    """(B * N,) IoU of every sample with its target; of the others what is recorded."""
    overlap = case.tensor("target/ious").view(predictions.logits.shape[:2]).clone()
    overlap[matches.image, matches.sample] = matches.score
    return overlap.flatten()


def check_plan(case, matching, predictions, targets, image):
    """Costs, supplies and what is sent where, of targets that have candidates and of the background."""
    with torch.no_grad():
        pairs, cost, background, supply, _ = matching.problem(predictions, targets)
        slot, row = pairs.image * predictions.logits.shape[1] + pairs.sample, pairs.flat_target(targets)
        valid = torch.ones_like(background, dtype=torch.bool)
        sent, kept = sinkhorn(cost, slot, row, background, supply, valid, matching.eps, matching.iterations)
    own, count = pairs.image == image, int(targets.mask[image].sum())
    left = background.shape[1] - supply[image].sum()
    case.check(f"ot/{image}/mu", torch.cat([supply[image, :count], left[None]]).float())
    place = pairs.target[own], pairs.sample[own]
    costs = case.tensor(f"ot/{image}/cost").clone()
    forced = costs[place] > case.config["penalty"] / 10  # without candidates
    costs[place] = torch.where(forced, costs[place], cost[own].detach())
    costs[-1] = background[image]
    case.check(f"ot/{image}/cost", costs)
    if f"ot/{image}/pi" in case:
        plan = torch.zeros_like(costs)
        plan[place] = sent[own].exp().float()
        plan[-1] = kept[image].exp()
        case.check(f"ot/{image}/pi", plan)


@pytest.mark.parametrize("case", cases("dense_assign", "lla_*"))
def test_lla_equals_its_authors_code(case):
    maps = leaves(case, "cls", "dist", "iou")
    predictions, (targets, order) = transport_predictions(case, maps), split_ignored(case)
    assigner = build("lla", num_classes=case.config["num_classes"], k=case.config["topk"])
    set_transport(assigner, case.config, case.config["reg_cost"])
    own = Region(margin=case.config["inside_margin"])
    set_constants(assigner.matching, penalty=case.config["penalty"], own=own)
    assignment, losses = assigner.assign_and_loss(predictions, targets)
    matches = assignment.matches

    for image, places in enumerate(order):
        recorded = case.tensor("target/gt_index")[image]
        lost = torch.isin(recorded, places, invert=True) & (recorded >= 0)  # to an ignore region
        mine = gt_index(matches, predictions.logits.shape[:2])[image]
        wanted = torch.where(lost, -1, recorded)
        assert torch.equal(torch.where(mine >= 0, places[mine] if len(places) else mine, -1), wanted)
        assert torch.equal(matches.ignored[image], lost)
        if len(places) == len(case.tensor(f"gt/{image}/labels")) > 0:
            case.check(
                f"match/{image}/cost", recorded_costs(case, assigner.matching, predictions, targets, image)[1].float()
            )
    counted = len(matches.image) + int(matches.ignored.sum())  # the original's normaliser counts what regions won
    case.check("norm/num_fg", torch.tensor(float(counted)))
    scale = len(matches.image) / counted
    check_transport_losses(case, losses, scale)
    (scale * sum(losses.values())).backward()
    check_gradients(case, maps)


MATCHINGS = {
    "SimOTAAssigner": ("simota_v1", {"center_radius": "radius", "candidate_topk": "top"}),
    "DynamicSoftLabelAssigner": ("dynamic_soft_label", {"topk": "top"}),
}


@pytest.mark.parametrize(("case", "name"), recorded_assigners(*MATCHINGS))
def test_matching_equals_mmdets_assigner(case, name):
    rule, places = case.config["assigners"][name], case.tensor("input/points_stride")
    registered, names = MATCHINGS[rule["type"]]
    matching = REGISTERED.build(registered, **renamed(rule, names))
    predictions = Predictions(
        case.tensor("input/cls_logits")[None],
        case.tensor("input/pred_boxes")[None],
        points=places[:, :2],
        strides=places[:, 2],
        level_sizes=tuple(case.tensor("input/num_level_priors").tolist()),
    )
    targets = targets_of(case, 1)
    matches = matching(predictions, targets)

    index = gt_index(matches, predictions.logits.shape[:2])[0]
    case.check(f"out/{name}/gt_inds", index + 1)
    labels = torch.full_like(index, -1)
    labels[matches.sample] = matches.labels(targets)
    case.check(f"out/{name}/labels", labels)
    recorded = case.tensor(f"out/{name}/max_overlaps")[matches.sample]
    torch.testing.assert_close(matches.score, recorded, rtol=1e-4, atol=2e-6)
    if f"out/{name}/cost" in case:
        cost = recorded_costs(case, matching, predictions, targets, 0)[1]
        case.check(f"out/{name}/cost", cost.float().t())
