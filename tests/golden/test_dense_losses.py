"""FCOS, ATSS, RetinaNet, GFL and TOOD losses against mmdet's heads: targets, normalisers, losses, gradients.

mmdet's anchor heads report one loss per level; the sum over levels is what training minimises and what is compared.
"""

from dataclasses import replace

import pytest
import torch
from support.dense import flat, point_predictions, targets_of
from support.golden import cases
from torch.nn.functional import binary_cross_entropy_with_logits

from detassign.assigners import (
    ATSS,
    Assigner,
    CenterSampling,
    MaxIoU,
    Predictions,
    Scores,
    TaskAligned,
    build,
    focal,
    set_progress,
)
from detassign.assigners.boxes import boxes_from_distances
from detassign.assigners.weighting.common import pair_centerness


def leaves(case):
    names = [n for n in ("cls_score", "bbox_pred", "objectness") if f"input/{n}/0" in case]
    return {n: [m.requires_grad_() for m in case.levels(f"input/{n}")] for n in names}


def check_gradients(case, maps):
    for name, level_maps in maps.items():
        for level, level_map in enumerate(level_maps):
            if f"grad/{name}/{level}" in case:
                grad = level_map.grad if level_map.grad is not None else torch.zeros_like(level_map)
                case.check(f"grad/{name}/{level}", grad)


def check_sum(case, key, value):
    entry = case.sidecar["tolerance"][key]
    atol = entry["atol"] * max(len(case.arrays[key].reshape(-1)), 1)
    torch.testing.assert_close(value.detach(), case.tensor(key).sum(), rtol=entry["rtol"], atol=atol)


def centerness_loss(predictions, targets, assignment, normalizer):
    matches = assignment.matches
    logits = predictions.objectness[matches.image, matches.sample]
    wanted = pair_centerness(predictions, targets, matches)
    return binary_cross_entropy_with_logits(logits, wanted, reduction="sum") / normalizer


@pytest.mark.parametrize("case", cases("dense", "loss_fcos_*"))
def test_fcos_equals_mmdet(case):
    head, maps = case.config["head"], leaves(case)
    unit = "strides" if head.get("norm_on_bbox") else "pixels"
    predictions = point_predictions(case, *maps.values(), unit=unit)
    targets = targets_of(case, case.config["batch"])
    radius = head.get("center_sample_radius", 1.5) if head.get("center_sampling") else None
    box_loss = "giou" if head.get("loss_bbox", {}).get("type") == "GIoULoss" else "iou_log"
    matching = CenterSampling(radius=radius, ranges=head["regress_ranges"])
    assigner = Assigner(matching, focal(box_weight="centerness", box_floor=1e-6), box_loss=box_loss)

    assignment, losses = assigner.assign_and_loss(predictions, targets)
    matches = assignment.matches
    labels = torch.full(predictions.logits.shape[:2], head["num_classes"])
    labels[matches.image, matches.sample] = matches.labels(targets)
    by_level = torch.cat([part.flatten() for part in labels.split(predictions.level_sizes, 1)])
    case.check("target/labels", by_level)
    case.check("norm/num_pos", assignment.normalizers[0])
    case.check("norm/centerness_denorm", assignment.normalizers[2])
    case.check("loss/loss_cls", losses["loss_cls_pos"] + losses["loss_cls_neg"])
    case.check("loss/loss_centerness", losses["loss_centerness"])
    if len(matches.image):
        case.check("loss/loss_bbox", losses["loss_box"])
        sum(losses.values()).backward()
        check_gradients(case, maps)
    else:  # mmdet returns the sum of no predictions, zero, as we do
        assert losses["loss_box"] == case.tensor("loss/loss_bbox").sum() == 0


def decode(anchors, deltas, deviations):
    """Boxes from anchor deltas (the usual Faster R-CNN code)."""
    deltas = deltas * torch.tensor(deviations)
    center, size = (anchors[..., :2] + anchors[..., 2:]) / 2, anchors[..., 2:] - anchors[..., :2]
    center, size = (
        center + deltas[..., :2] * size,
        size * deltas[..., 2:].clamp(-4.135166556742356, 4.135166556742356).exp(),
    )
    return torch.cat([center - size / 2, center + size / 2], -1)


def anchor_predictions(case, maps, boxes_of):
    """Predictions on the recorded anchors; A anchors per location lie next to each other, as in mmdet."""
    anchors = case.tensor("target/anchors").amax(0)  # zeros where an anchor is not valid in an image
    anchors = torch.where(anchors > 0, anchors, case.tensor("target/anchors").amin(0))
    per_location = maps["bbox_pred"][0].shape[1] // 4 if "bbox_pred" in maps else 1
    per_location = per_location if per_location < 9 else 1  # GFL predicts distributions, one box per location
    logits = flat(maps["cls_score"]).reshape(len(maps["cls_score"][0]), len(anchors), -1)
    deltas = flat(maps["bbox_pred"]).reshape(len(logits), len(anchors), -1)
    cells = [m.shape[-1] * m.shape[-2] for m in maps["cls_score"]]
    strides = torch.cat([torch.full((c * per_location,), float(8 * 2**i)) for i, c in enumerate(cells)])
    objectness = flat(maps["objectness"])[..., 0] if "objectness" in maps else None
    return Predictions(
        logits,
        boxes_of(anchors, deltas, strides),
        objectness,
        points=(anchors[:, :2] + anchors[:, 2:]) / 2,
        strides=strides,
        level_sizes=tuple(c * per_location for c in cells),
        priors=anchors,
        valid=valid_anchors(case, cells, per_location),
    )


def valid_anchors(case, cells, per_location):
    """(B, N) which anchors sit in their image's padded area."""
    sizes = case.config["featmap_sizes"]
    flags = []
    for height, width in case.config["pad_shapes"]:
        for level, (rows, columns) in enumerate(sizes):
            stride = 8 * 2**level
            inside = torch.zeros(rows, columns, dtype=torch.bool)
            inside[: min(-(-height // stride), rows), : min(-(-width // stride), columns)] = True
            flags.append(inside.reshape(-1).repeat_interleave(per_location))
    return torch.cat(flags).view(len(case.config["pad_shapes"]), -1)


def check_targets(case, assignment, predictions, targets):
    """Labels (C for background) and label weights of the valid anchors."""
    matches = assignment.matches
    labels = torch.full(predictions.logits.shape[:2], case.config["head"]["num_classes"])
    labels[matches.image, matches.sample] = matches.labels(targets)
    weights = predictions.valid.float()
    if matches.ignored is not None:
        weights = weights * ~matches.ignored
    case.check("target/labels", labels)
    case.check("target/label_weights", weights)


@pytest.mark.parametrize("case", cases("dense", "loss_atss_*"))
def test_atss_equals_mmdet(case):
    maps = leaves(case)
    deviations = case.config["head"]["bbox_coder"]["target_stds"]
    predictions = anchor_predictions(case, maps, lambda anchors, deltas, _: decode(anchors, deltas, deviations))
    targets = targets_of(case, case.config["batch"])
    weighting = focal(box_weight="centerness", box_scale=2.0, floor_per_image=True)
    assignment, losses = Assigner(ATSS(k=9), weighting, branch=None).assign_and_loss(predictions, targets)
    centerness = centerness_loss(predictions, targets, assignment, assignment.normalizers[0])

    check_targets(case, assignment, predictions, targets)
    case.check("norm/avg_factor", assignment.normalizers[0])
    check_sum(case, "loss/loss_cls", losses["loss_cls_pos"] + losses["loss_cls_neg"])
    check_sum(case, "loss/loss_bbox", losses["loss_box"])
    check_sum(case, "loss/loss_centerness", centerness)
    (sum(losses.values()) + centerness).backward()
    check_gradients(case, maps)


@pytest.mark.parametrize("case", cases("dense", "loss_retina_*"))
def test_max_iou_and_focal_equal_mmdets_retinanet(case):
    maps = leaves(case)
    deviations = case.config["head"]["bbox_coder"]["target_stds"]
    predictions = anchor_predictions(case, maps, lambda anchors, deltas, _: decode(anchors, deltas, deviations))
    targets = targets_of(case, case.config["batch"])
    matching = MaxIoU(0.5, 0.4, 0.0, conflict="last", ignore_threshold=0)
    assignment, losses = Assigner(matching, focal(floor_per_image=True)).assign_and_loss(predictions, targets)

    check_targets(case, assignment, predictions, targets)
    case.check("norm/avg_factor", assignment.normalizers[0])
    check_sum(case, "loss/loss_cls", losses["loss_cls_pos"] + losses["loss_cls_neg"])
    (losses["loss_cls_pos"] + losses["loss_cls_neg"]).backward()
    check_gradients(case, {"cls_score": maps["cls_score"]})


def expected_distance(logits, bins):
    """Expectation of GFL's four side distributions (..., 4 * bins) -> (..., 4)."""
    return logits.unflatten(-1, (4, bins)).softmax(-1) @ torch.arange(float(bins))


@pytest.mark.parametrize("case", cases("dense", "loss_gfl_*"))
def test_gfl_equals_mmdets(case):
    maps, bins = leaves(case), case.config["head"]["reg_max"] + 1

    def boxes_of(anchors, logits, strides):
        return boxes_from_distances(
            (anchors[:, :2] + anchors[:, 2:]) / 2, expected_distance(logits, bins) * strides[:, None]
        )

    predictions = anchor_predictions(case, maps, boxes_of)
    targets = targets_of(case, case.config["batch"])
    predictions = replace(predictions, distribution=flat(maps["bbox_pred"]).unflatten(-1, (4, bins)))
    gfl = build("gfl", case.config["head"]["num_classes"])
    assignment, losses = gfl.assign_and_loss(predictions, targets)

    check_targets(case, assignment, predictions, targets)
    case.check("norm/avg_factor", assignment.normalizers[2])
    check_sum(case, "loss/loss_cls", losses["loss_cls_pos"] + losses["loss_cls_neg"])
    check_sum(case, "loss/loss_bbox", losses["loss_box"])
    check_sum(case, "loss/loss_dfl", losses["loss_dfl"])
    sum(losses.values()).backward()
    check_gradients(case, maps)


class Given:
    """A score model whose logits are probabilities, as TOOD's losses take them."""

    needs = frozenset()
    uses_objectness = True  # of which the probabilities are made already
    background_column = False

    def __call__(self, predictions):
        probability = predictions.logits
        return Scores(torch.log1p(-probability), lambda *pairs: probability[pairs].log())


@pytest.mark.parametrize("case", cases("dense", "loss_tood_*"))
def test_both_phases_of_tood_equal_mmdets(case):
    maps, head = leaves(case), case.config["head"]
    predictions = anchor_predictions(case, maps, lambda anchors, boxes, strides: boxes * strides[:, None])
    targets = targets_of(case, case.config["batch"])
    settings = head["train_cfg"]
    k, first_k = settings["assigner"]["topk"], settings["initial_assigner"]["topk"]
    epochs = 12
    assigner = build("tood", head["num_classes"], k=k, first_k=first_k, aligned_from=settings["initial_epoch"] / epochs)
    set_progress(assigner, case.config["epoch"] / epochs)
    phase = assigner.current
    phase.score = Given()
    if isinstance(phase.matching, TaskAligned):
        phase.matching.score = phase.score
    assert isinstance(phase.matching, TaskAligned) == (case.config["epoch"] >= settings["initial_epoch"])

    assignment, losses = assigner.assign_and_loss(predictions, targets)
    check_targets(case, assignment, predictions, targets)
    matches = assignment.matches
    if isinstance(phase.matching, TaskAligned):
        aligned = torch.zeros(predictions.logits.shape[:2])
        aligned[matches.image, matches.sample] = assignment.details["target"]
        case.check("target/alignment_metrics", aligned)
    case.check("norm/cls_avg_factor", assignment.normalizers[0])
    case.check("norm/bbox_avg_factor", assignment.normalizers[2])
    check_sum(case, "loss/loss_cls", losses["loss_cls_pos"] + losses["loss_cls_neg"])
    check_sum(case, "loss/loss_bbox", losses["loss_box"])
    sum(losses.values()).backward()
    check_gradients(case, maps)
