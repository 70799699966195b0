"""VarifocalNet and DDOD against mmdet's heads: matches, normalisers, losses, gradients."""

import pytest
from support.dense import (
    check_gradients,
    check_sum,
    class_loss,
    decoded,
    deviations_of,
    flat,
    grid,
    gt_index,
    leaves,
    set_constants,
    set_focal,
    strides_of,
    targets_of,
)
from support.golden import cases

from detassign.assigners import Predictions, build
from detassign.assigners.boxes import boxes_from_distances


def predictions_of(case, logits, boxes, branch=None):
    """Predictions of level maps, on the recorded anchors."""
    priors = case.tensor("input/priors")
    _, strides, sizes = grid([m.shape[-2:] for m in logits], strides_of(case))
    branch = None if branch is None else flat(branch)[..., 0]
    return Predictions(flat(logits), boxes, branch, (priors[:, :2] + priors[:, 2:]) / 2, strides, sizes, priors=priors)


def check_assigned(case, name, matches, predictions):
    for image, target in enumerate(gt_index(matches, predictions.logits.shape[:2])):
        case.check(f"assign/{name}/{image}/gt_index", target)


@pytest.mark.parametrize("case", cases("dense_assign", "vfnet_*"))
def test_varifocalnet_equals_mmdets(case):
    maps, targets = leaves(case, "cls", "reg", "reg2"), targets_of(case, case.config["batch"])
    boxes = [
        boxes_from_distances(_corners(case, maps["cls"]), flat(maps[name])) for name in ("reg", "reg2")
    ]  # first and refined ones
    head, classes = case.config["head_config"], case.config["num_classes"]
    k, settings = head["train_cfg"]["assigner"]["topk"], {n: head["loss_cls"][n] for n in ("alpha", "gamma")}
    first, refined = (
        build("vfnet", classes, k=k, **settings, box_scale=head[name]["loss_weight"])
        for name in ("loss_bbox", "loss_bbox_refine")
    )
    for each in (first, refined):
        set_constants(each.weighting, class_scale=head["loss_cls"]["loss_weight"])
    assignment, losses = refined.assign_and_loss(predictions_of(case, maps["cls"], boxes[1]), targets)
    start, first_losses = first.assign_and_loss(predictions_of(case, maps["cls"], boxes[0]), targets)

    check_assigned(case, "assigner", assignment.matches, predictions_of(case, maps["cls"], boxes[1]))
    case.check("call/loss_cls/0/avg_factor", assignment.normalizers[0])
    for name, each in (("loss_bbox", start), ("loss_bbox_refine", assignment)):
        if f"call/{name}/0/avg_factor" in case:
            case.check(f"call/{name}/0/avg_factor", each.normalizers[2])
    case.check("loss/loss_cls", class_loss(losses))
    case.check("loss/loss_bbox", first_losses["loss_box"])
    case.check("loss/loss_bbox_rf", losses["loss_box"])
    (sum(losses.values()) + first_losses["loss_box"]).backward()
    check_gradients(case, maps)


def _corners(case, logits):
    """Points at (column, row) times stride."""
    return grid([m.shape[-2:] for m in logits], strides_of(case), offset=0.0)[0]


def set_ddod(assigner, head):
    """Give the assigners of classes and of boxes a head's constants; the weight of IoUs is on top of that of boxes."""
    loss, box = head["loss_cls"], head["loss_bbox"]["loss_weight"]
    _, boxes = assigner.assigners
    set_constants(boxes.matching, k=head["train_cfg"]["reg_assigner"]["topk"])
    for each in assigner.assigners:
        set_focal(each.weighting.weighting, loss["alpha"], loss["gamma"], loss["loss_weight"])
        set_constants(each.weighting.weighting, box_scale=box)
    set_constants(boxes.branch, weight=head["loss_iou"]["loss_weight"] / box)


@pytest.mark.parametrize("case", cases("dense_assign", "ddod_*"))
def test_ddod_equals_mmdets(case):
    maps, targets = leaves(case, "cls", "reg", "extra"), targets_of(case, case.config["batch"])
    head = case.config["head_config"]
    boxes = decoded(case.tensor("input/priors"), flat(maps["reg"]), deviations_of(head["bbox_coder"]))
    predictions = predictions_of(case, maps["cls"], boxes, maps["extra"])
    settings = head["train_cfg"]
    alphas = {"class_alpha": settings["assigner"]["alpha"], "box_alpha": settings["reg_assigner"]["alpha"]}
    assigner = build("ddod", case.config["num_classes"], k=settings["assigner"]["topk"], **alphas)
    set_ddod(assigner, head)
    for name, part in zip(("cls_assigner", "reg_assigner"), assigner.assigners, strict=True):
        check_assigned(case, name, part.match(predictions, targets), predictions)

    assignment, losses = assigner.assign_and_loss(predictions, targets)
    case.check("call/loss_cls/0/avg_factor", assignment.normalizers[0])
    case.check("call/loss_bbox/0/avg_factor", assignment.normalizers[2])
    check_sum(case, "loss/loss_cls", class_loss(losses))
    check_sum(case, "loss/loss_bbox", losses["loss_box"])
    check_sum(case, "loss/loss_iou", losses["loss_iou"])
    sum(losses.values()).backward()
    check_gradients(case, maps)
