"""VarifocalNet and DDOD against mmdet's heads: matches, normalisers, losses, gradients."""

import pytest
import torch
from support.dense import flat, grid, targets_of
from support.golden import cases

from detassign.assigners import Predictions, build
from detassign.assigners.boxes import boxes_from_distances

LARGEST = 4.135166556742356  # of a log size


def maps_of(case, *names):
    return {name: [m.requires_grad_() for m in case.levels(f"input/{name}")] for name in names}


def predictions_of(case, logits, boxes, branch=None):
    """Predictions of level maps, on the recorded anchors."""
    priors = case.tensor("input/priors")
    _, strides, sizes = grid([m.shape[-2:] for m in logits], case.config["strides"])
    branch = None if branch is None else flat(branch)[..., 0]
    return Predictions(flat(logits), boxes, branch, (priors[:, :2] + priors[:, 2:]) / 2, strides, sizes, priors=priors)


def assigned(matches, predictions):
    """(B, N) the target of every sample, -1 where it has none."""
    result = torch.full(predictions.logits.shape[:2], -1)
    result[matches.image, matches.sample] = matches.target
    return result


def check_assigned(case, name, matches, predictions):
    for image, target in enumerate(assigned(matches, predictions)):
        case.check(f"assign/{name}/{image}/gt_index", target)


def check_gradients(case, maps):
    for name, levels in maps.items():
        for level, level_map in enumerate(levels):
            case.check(f"grad/{name}/{level}", level_map.grad)


@pytest.mark.parametrize("case", cases("dense_assign", "vfnet_*"))
def test_varifocalnet_equals_mmdets(case):
    maps, targets = maps_of(case, "cls", "reg", "reg2"), targets_of(case, case.config["batch"])
    boxes = [
        boxes_from_distances(_corners(case, maps["cls"]), flat(maps[name])) for name in ("reg", "reg2")
    ]  # first and refined ones
    head, classes = case.config["head_config"], case.config["num_classes"]
    k, settings = head["train_cfg"]["assigner"]["topk"], {n: head["loss_cls"][n] for n in ("alpha", "gamma")}
    first, refined = (
        build("vfnet", classes, k=k, **settings, box_scale=head[name]["loss_weight"])
        for name in ("loss_bbox", "loss_bbox_refine")
    )
    assignment, losses = refined.assign_and_loss(predictions_of(case, maps["cls"], boxes[1]), targets)
    start, first_losses = first.assign_and_loss(predictions_of(case, maps["cls"], boxes[0]), targets)

    check_assigned(case, "assigner", assignment.matches, predictions_of(case, maps["cls"], boxes[1]))
    case.check("call/loss_cls/0/avg_factor", assignment.normalizers[0])
    for name, each in (("loss_bbox", start), ("loss_bbox_refine", assignment)):
        if f"call/{name}/0/avg_factor" in case:
            case.check(f"call/{name}/0/avg_factor", each.normalizers[2])
    case.check("loss/loss_cls", losses["loss_cls_pos"] + losses["loss_cls_neg"])
    case.check("loss/loss_bbox", first_losses["loss_box"])
    case.check("loss/loss_bbox_rf", losses["loss_box"])
    (sum(losses.values()) + first_losses["loss_box"]).backward()
    check_gradients(case, maps)


def _corners(case, logits):
    """Points at (column, row) times stride."""
    return grid([m.shape[-2:] for m in logits], case.config["strides"], offset=0.0)[0]


def decoded(case, deltas):
    coder = case.config["head_config"]["bbox_coder"]
    assert coder["target_means"] == [0.0] * 4
    deltas = deltas * torch.tensor(coder["target_stds"])
    anchors = case.tensor("input/priors")
    center, size = (anchors[:, :2] + anchors[:, 2:]) / 2, anchors[:, 2:] - anchors[:, :2]
    center, size = center + deltas[..., :2] * size, size * deltas[..., 2:].clamp(-LARGEST, LARGEST).exp()
    return torch.cat([center - size / 2, center + size / 2], -1)


@pytest.mark.parametrize("case", cases("dense_assign", "ddod_*"))
def test_ddod_equals_mmdets(case):
    maps, targets = maps_of(case, "cls", "reg", "extra"), targets_of(case, case.config["batch"])
    predictions = predictions_of(case, maps["cls"], decoded(case, flat(maps["reg"])), maps["extra"])
    settings = case.config["head_config"]["train_cfg"]
    alphas = {"class_alpha": settings["assigner"]["alpha"], "box_alpha": settings["reg_assigner"]["alpha"]}
    assigner = build("ddod", case.config["num_classes"], k=settings["assigner"]["topk"], **alphas)
    for name, part in zip(("cls_assigner", "reg_assigner"), assigner.assigners, strict=True):
        check_assigned(case, name, part.match(predictions, targets), predictions)

    assignment, losses = assigner.assign_and_loss(predictions, targets)
    case.check("call/loss_cls/0/avg_factor", assignment.normalizers[0])
    case.check("call/loss_bbox/0/avg_factor", assignment.normalizers[2])
    totals = {
        "loss_cls": losses["loss_cls_pos"] + losses["loss_cls_neg"],
        "loss_bbox": losses["loss_box"],
        "loss_iou": losses["loss_iou"],
    }
    for name, value in totals.items():
        entry = case.sidecar["tolerance"][f"loss/{name}"]
        recorded = case.tensor(f"loss/{name}")  # one value per level
        torch.testing.assert_close(
            value.detach(), recorded.sum(), rtol=entry["rtol"], atol=entry["atol"] * len(recorded)
        )
    sum(losses.values()).backward()
    check_gradients(case, maps)
