"""Dense golden inputs as `Predictions` and `Targets`, the constants of their sidecars, and checks of their losses."""

import math
import re

import pytest
import torch
from support.golden import cases, golden_folder, missing

from detassign.assigners import MaxIoU, Predictions, Targets
from detassign.assigners.boxes import boxes_from_distances


def grid(sizes, strides, offset=0.5):
    """Points (N, 2), strides (N,), level sizes of feature maps (h, w)."""
    points, stride_of = [], []
    for (height, width), stride in zip(sizes, strides, strict=True):
        y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        points.append((torch.stack([x, y], -1).reshape(-1, 2) + offset) * float(stride))
        stride_of.append(torch.full((height * width,), float(stride)))
    return torch.cat(points), torch.cat(stride_of), tuple(len(p) for p in points)


def flat(maps):
    """Level maps (B, K, h, w) as one (B, N, K) tensor."""
    return torch.cat([m.flatten(2).transpose(1, 2) for m in maps], 1)


def targets_of(case, images):
    """The golden case's targets of `images` images."""
    boxes = [case.tensor(f"gt/{i}/boxes").reshape(-1, 4) for i in range(images)]
    return Targets.from_lists(boxes, [case.tensor(f"gt/{i}/labels").long() for i in range(images)])


def strides_of(case):
    """Strides of the levels, wherever the sidecar has them."""
    if "strides" in case.config:
        return case.config["strides"]
    head = case.config["head"]
    return head["strides"] if "strides" in head else head["anchor_generator"]["strides"]


def point_predictions(case, cls, reg, obj, *, unit="pixels", offset=0.5):
    """Predictions from level maps of logits, side distances and a second branch; distances in pixels or in strides."""
    points, stride_of, level_sizes = grid([m.shape[-2:] for m in cls], strides_of(case), offset)
    distances = flat(reg)
    if unit == "strides":
        distances = distances * stride_of[:, None]
    objectness = flat(obj)[..., 0] if obj else None
    return Predictions(flat(cls), boxes_from_distances(points, distances), objectness, points, stride_of, level_sizes)


def leaves(case, *names, dtype=torch.float32):
    """Level maps input/NAME/LEVEL that collect gradients, by name; none where a name is not recorded."""
    return {name: [m.to(dtype).requires_grad_() for m in case.levels(f"input/{name}")] for name in names}


def deviations_of(coder):
    """Standard deviations of a code of anchor deltas, whose means are zero."""
    assert not any(coder["target_means"])
    return coder["target_stds"]


def decoded(anchors, deltas, deviations, pixel=0.0, symmetric=True):
    """Boxes from anchor deltas in the usual Faster R-CNN code.

    Args:
        anchors: (N, 4) xyxy.
        deltas: (B, N, 4).
        deviations: the code's standard deviations, four; its means are zero.
        pixel: by how much a side is longer than x2 - x1.
        symmetric: log sides are bounded below, as well as above.
    """
    deltas = deltas * deltas.new_tensor(deviations)
    largest = math.log(1000 / 16)
    middle, size = (anchors[..., :2] + anchors[..., 2:]) / 2, anchors[..., 2:] - anchors[..., :2] + pixel
    logs = deltas[..., 2:].clamp(-largest if symmetric else None, largest)
    middle, half = middle + deltas[..., :2] * size, (size * logs.exp() - pixel) / 2
    return torch.cat([middle - half, middle + half], -1)


MAX_IOU_NAMES = {
    "pos_iou_thr": "positive_iou",
    "neg_iou_thr": "negative_iou",
    "min_pos_iou": "minimum_iou",
    "match_low_quality": "match_low_quality",
    "gt_max_assign_all": "all_best",
    "ignore_iof_thr": "ignore_threshold",
}


def max_iou_of(rule):
    """mmdet's MaxIoUAssigner: the last target of the list wins."""
    return MaxIoU(**renamed(rule, MAX_IOU_NAMES), conflict="last")


def recorded_assigners(*kinds):
    """pytest parameters (case, name) for every recorded assigner of mmdet's that is of one of some types."""
    found = [p.values[0] for p in cases("dense", "assign_*") if p.values[0]]
    named = [(case, name) for case in found for name, rule in case.config["assigners"].items() if rule["type"] in kinds]
    params = [pytest.param(case, name, id=f"{case.name}-{name}") for case, name in named]
    return params or missing(f"no case of {' or '.join(kinds)} in {golden_folder() / 'dense'}", arguments=2)


def renamed(rule, names):
    """Arguments of our matching from an assigner's config in mmdet."""
    return {names[key]: value for key, value in rule.items() if key != "type"}


def gt_index(matches, shape):
    """(B, N) the target of every sample, -1 where it has none."""
    result = torch.full(shape, -1)
    result[matches.image, matches.sample] = matches.target
    return result


def set_constants(part, **constants):
    """Give a part of an assigner the constants of a recording, which it must have."""
    for name, value in constants.items():
        assert hasattr(part, name), name
        setattr(part, name, value)


def set_focal(weighting, alpha, gamma, class_scale=1.0):
    """Give a weighting the constants of a focal loss."""
    set_constants(weighting, matched_scale=alpha, background_scale=1 - alpha, gamma=gamma, class_scale=class_scale)


def set_alignment(assigner, score_power, iou_power):
    """Give matching and weighting the powers of task alignment."""
    for part in (assigner.matching, assigner.weighting.target.target):
        set_constants(part, score_power=score_power, iou_power=iou_power)


def hard_threshold_of(config):
    """DW's code keeps pairs whose prior is above 0.3, unless it is soft."""
    return None if config.get("soft_prior", True) else 0.3


def weight_in(text):
    """The coefficient that a sidecar's description of a loss begins with, "2 * GIoU"; 1 where it has none."""
    found = re.match(r"[\d.]+", text)
    return float(found[0]) if found else 1.0


def class_loss(losses, ending=""):
    """Both signs of the class loss, which are one in other projects."""
    return losses[f"loss_cls_pos{ending}"] + losses[f"loss_cls_neg{ending}"]


def check_sum(case, key, value):
    """A loss that may be recorded level by level is their sum."""
    entry, recorded = case.sidecar["tolerance"][key], case.tensor(key)
    atol = entry["atol"] * max(recorded.numel(), 1)
    torch.testing.assert_close(value.detach(), recorded.sum(), rtol=entry["rtol"], atol=atol)


def check_gradients(case, maps):
    """The gradients of level maps, zero where none came back; a compact recording may have those of some levels alone."""
    keys = {f"{name}/{level}": values for name, levels in maps.items() for level, values in enumerate(levels)}
    recorded = [key for key in keys if f"grad/{key}" in case]
    assert recorded
    for key in recorded:
        values = keys[key]
        case.check(f"grad/{key}", torch.zeros_like(values) if values.grad is None else values.grad)
