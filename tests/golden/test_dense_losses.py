"""FCOS, ATSS, RetinaNet, GFL and TOOD losses against mmdet's heads: targets, normalisers, losses, gradients.

mmdet's anchor heads report one loss per level; the sum over levels is what training minimises and what is compared.
"""

from dataclasses import replace

import pytest
import torch
from support.dense import (
    check_gradients,
    check_sum,
    class_loss,
    decoded,
    deviations_of,
    flat,
    leaves,
    max_iou_of,
    point_predictions,
    set_alignment,
    set_constants,
    set_focal,
    strides_of,
    targets_of,
)
from support.golden import cases
from torch.nn.functional import binary_cross_entropy_with_logits

from detassign.assigners import (
    ATSS,
    Assigner,
    CenterSampling,
    Predictions,
    Scores,
    TaskAligned,
    build,
    focal,
    set_progress,
)
from detassign.assigners.boxes import boxes_from_distances
from detassign.assigners.weighting.common import pair_centerness


def maps_of(case):
    """The recorded maps as leaves, by name."""
    maps = leaves(case, "cls_score", "bbox_pred", "objectness")
    return {name: levels for name, levels in maps.items() if levels}


def centerness_loss(predictions, targets, assignment, normalizer):
    matches = assignment.matches
    logits = predictions.objectness[matches.image, matches.sample]
    wanted = pair_centerness(predictions, targets, matches)
    return binary_cross_entropy_with_logits(logits, wanted, reduction="sum") / normalizer


@pytest.mark.parametrize("case", cases("dense", "loss_fcos_*"))
def test_fcos_equals_mmdet(case):
    head, maps = case.config["head"], maps_of(case)
    unit = "strides" if head.get("norm_on_bbox") else "pixels"
    predictions = point_predictions(case, *maps.values(), unit=unit, offset=case.config["point_offset"])
    targets = targets_of(case, case.config["batch"])
    radius = head.get("center_sample_radius", 1.5) if head.get("center_sampling") else None
    loss_bbox = {"type": "IoULoss", "loss_weight": 1.0} | head.get("loss_bbox", {})  # mmdet's default
    matching = CenterSampling(radius=radius, ranges=head["regress_ranges"])
    weighting = focal(box_weight="centerness", box_floor=1e-6, box_scale=loss_bbox["loss_weight"])
    assigner = Assigner(matching, weighting, box_loss={"GIoULoss": "giou", "IoULoss": "iou_log"}[loss_bbox["type"]])

    assignment, losses = assigner.assign_and_loss(predictions, targets)
    matches = assignment.matches
    labels = torch.full(predictions.logits.shape[:2], head["num_classes"])
    labels[matches.image, matches.sample] = matches.labels(targets)
    by_level = torch.cat([part.flatten() for part in labels.split(predictions.level_sizes, 1)])
    case.check("target/labels", by_level)
    case.check("norm/num_pos", assignment.normalizers[0])
    case.check("norm/centerness_denorm", assignment.normalizers[2])
    case.check("loss/loss_cls", class_loss(losses))
    case.check("loss/loss_centerness", losses["loss_centerness"])
    if len(matches.image):
        case.check("loss/loss_bbox", losses["loss_box"])
        sum(losses.values()).backward()
        check_gradients(case, maps)
    else:  # mmdet returns the sum of no predictions, zero, as we do
        assert losses["loss_box"] == case.tensor("loss/loss_bbox").sum() == 0


def anchor_predictions(case, maps, boxes_of):
    """Predictions on the recorded anchors; A anchors per location lie next to each other, as in mmdet."""
    anchors = case.tensor("target/anchors").amax(0)  # zeros where an anchor is not valid in an image
    anchors = torch.where(anchors > 0, anchors, case.tensor("target/anchors").amin(0))
    cells = [m.shape[-1] * m.shape[-2] for m in maps["cls_score"]]
    per_location = len(anchors) // sum(cells)
    logits = flat(maps["cls_score"]).reshape(len(maps["cls_score"][0]), len(anchors), -1)
    deltas = flat(maps["bbox_pred"]).reshape(len(logits), len(anchors), -1)
    levels = zip(cells, strides_of(case), strict=True)
    strides = torch.cat([torch.full((count * per_location,), float(stride)) for count, stride in levels])
    objectness = flat(maps["objectness"])[..., 0] if "objectness" in maps else None
    return Predictions(
        logits,
        boxes_of(anchors, deltas, strides),
        objectness,
        points=(anchors[:, :2] + anchors[:, 2:]) / 2,
        strides=strides,
        level_sizes=tuple(c * per_location for c in cells),
        priors=anchors,
        valid=valid_anchors(case, per_location),
    )


def valid_anchors(case, per_location):
    """(B, N) which anchors sit in their image's padded area."""
    flags = []
    for height, width in case.config["pad_shapes"]:
        for (rows, columns), stride in zip(case.config["featmap_sizes"], strides_of(case), strict=True):
            inside = torch.zeros(rows, columns, dtype=torch.bool)
            inside[: min(-(-height // stride), rows), : min(-(-width // stride), columns)] = True
            flags.append(inside.reshape(-1).repeat_interleave(per_location))
    return torch.cat(flags).view(len(case.config["pad_shapes"]), -1)


def constants_of(loss):
    """alpha, gamma and weight of mmdet's focal loss."""
    return loss["alpha"], loss["gamma"], loss["loss_weight"]


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
    maps = maps_of(case)
    deviations = deviations_of(case.config["head"]["bbox_coder"])
    predictions = anchor_predictions(case, maps, lambda anchors, deltas, _: decoded(anchors, deltas, deviations))
    targets = targets_of(case, case.config["batch"])
    head = case.config["head"]
    weighting = focal(box_weight="centerness", box_scale=head["loss_bbox"]["loss_weight"], floor_per_image=True)
    set_focal(weighting, *constants_of(head["loss_cls"]))
    matching = ATSS(k=head["train_cfg"]["assigner"]["topk"])
    assignment, losses = Assigner(matching, weighting, branch=None).assign_and_loss(predictions, targets)
    centerness = centerness_loss(predictions, targets, assignment, assignment.normalizers[0])
    centerness = head["loss_centerness"]["loss_weight"] * centerness

    check_targets(case, assignment, predictions, targets)
    case.check("norm/avg_factor", assignment.normalizers[0])
    check_sum(case, "loss/loss_cls", class_loss(losses))
    check_sum(case, "loss/loss_bbox", losses["loss_box"])
    check_sum(case, "loss/loss_centerness", centerness)
    (sum(losses.values()) + centerness).backward()
    check_gradients(case, maps)


@pytest.mark.parametrize("case", cases("dense", "loss_retina_*"))
def test_max_iou_and_focal_equal_mmdets_retinanet(case):
    maps = maps_of(case)
    deviations = deviations_of(case.config["head"]["bbox_coder"])
    predictions = anchor_predictions(case, maps, lambda anchors, deltas, _: decoded(anchors, deltas, deviations))
    targets = targets_of(case, case.config["batch"])
    head, weighting = case.config["head"], focal(floor_per_image=True)
    set_focal(weighting, *constants_of(head["loss_cls"]))
    matching = max_iou_of(head["train_cfg"]["assigner"])
    assignment, losses = Assigner(matching, weighting).assign_and_loss(predictions, targets)

    check_targets(case, assignment, predictions, targets)
    case.check("norm/avg_factor", assignment.normalizers[0])
    check_sum(case, "loss/loss_cls", class_loss(losses))
    class_loss(losses).backward()
    check_gradients(case, {"cls_score": maps["cls_score"]})


def expected_distance(logits, bins):
    """Expectation of GFL's four side distributions (..., 4 * bins) -> (..., 4)."""
    return logits.unflatten(-1, (4, bins)).softmax(-1) @ torch.arange(float(bins))


@pytest.mark.parametrize("case", cases("dense", "loss_gfl_*"))
def test_gfl_equals_mmdets(case):
    maps, head = maps_of(case), case.config["head"]
    bins = head["reg_max"] + 1

    def boxes_of(anchors, logits, strides):
        return boxes_from_distances(
            (anchors[:, :2] + anchors[:, 2:]) / 2, expected_distance(logits, bins) * strides[:, None]
        )

    predictions = anchor_predictions(case, maps, boxes_of)
    targets = targets_of(case, case.config["batch"])
    predictions = replace(predictions, distribution=flat(maps["bbox_pred"]).unflatten(-1, (4, bins)))
    gfl = build("gfl", head["num_classes"], k=head["train_cfg"]["assigner"]["topk"], beta=head["loss_cls"]["beta"])
    set_constants(gfl.weighting, class_scale=head["loss_cls"]["loss_weight"])
    weights = {"box": head["loss_bbox"]["loss_weight"], "dfl": head["loss_dfl"]["loss_weight"]}
    gfl.box_loss = {name: term._replace(weight=weights[name]) for name, term in gfl.box_loss.items()}
    assignment, losses = gfl.assign_and_loss(predictions, targets)

    check_targets(case, assignment, predictions, targets)
    case.check("norm/avg_factor", assignment.normalizers[2])
    check_sum(case, "loss/loss_cls", class_loss(losses))
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
    maps, head = maps_of(case), case.config["head"]
    predictions = anchor_predictions(case, maps, lambda anchors, boxes, strides: boxes * strides[:, None])
    targets = targets_of(case, case.config["batch"])
    settings = head["train_cfg"]
    k, first_k = settings["assigner"]["topk"], settings["initial_assigner"]["topk"]
    epochs = 2 * max(settings["initial_epoch"], case.config["epoch"] + 1)  # any number with both phases
    assigner = build("tood", head["num_classes"], k=k, first_k=first_k, aligned_from=settings["initial_epoch"] / epochs)
    set_progress(assigner, case.config["epoch"] / epochs)
    phase = assigner.current
    phase.score = Given()
    aligned = case.config["epoch"] >= settings["initial_epoch"]
    assert isinstance(phase.matching, TaskAligned) == aligned
    set_constants(phase.weighting, box_scale=head["loss_bbox"]["loss_weight"])
    if aligned:
        phase.matching.score = phase.score
        set_alignment(phase, settings["alpha"], settings["beta"])
        set_constants(phase.weighting, gamma=head["loss_cls"]["beta"], class_scale=head["loss_cls"]["loss_weight"])
    else:
        set_focal(phase.weighting, *constants_of(head["initial_loss_cls"]))

    assignment, losses = assigner.assign_and_loss(predictions, targets)
    check_targets(case, assignment, predictions, targets)
    matches = assignment.matches
    if aligned:
        metrics = torch.zeros(predictions.logits.shape[:2])
        metrics[matches.image, matches.sample] = assignment.details["target"]
        case.check("target/alignment_metrics", metrics)
    case.check("norm/cls_avg_factor", assignment.normalizers[0])
    case.check("norm/bbox_avg_factor", assignment.normalizers[2])
    check_sum(case, "loss/loss_cls", class_loss(losses))
    check_sum(case, "loss/loss_bbox", losses["loss_box"])
    sum(losses.values()).backward()
    check_gradients(case, maps)
