"""mmdet's own heads as peers of assigners: their matching, targets and losses on maps that stand for a network's outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

import torch
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor

from ..assigners import Predictions, Targets

__all__ = ["MMDET_HEADS", "available_heads", "loss_of"]

ANCHORS = {"type": "AnchorGenerator", "ratios": [1.0], "octave_base_scale": 8, "scales_per_octave": 1}
CODER = {"type": "DeltaXYWHBBoxCoder", "target_means": [0.0] * 4, "target_stds": [0.1, 0.1, 0.2, 0.2]}
ATSS = {"type": "ATSSAssigner", "topk": 9}
MAX_IOU = {"type": "MaxIoUAssigner", "pos_iou_thr": 0.5, "neg_iou_thr": 0.4, "min_pos_iou": 0.0, "ignore_iof_thr": -1}
FOCAL = {"type": "FocalLoss", "use_sigmoid": True, "gamma": 2.0, "alpha": 0.25, "loss_weight": 1.0}
GIOU = {"type": "GIoULoss", "loss_weight": 2.0}
BCE = {"type": "CrossEntropyLoss", "use_sigmoid": True, "loss_weight": 1.0}


def _anchored(name: str, assigner: Mapping[str, Any] = ATSS, **head: Any) -> dict[str, Any]:
    return {
        "type": name,
        "anchor_generator": ANCHORS,
        "bbox_coder": CODER,
        "loss_cls": FOCAL,
        "loss_bbox": GIOU,
        "train_cfg": {"assigner": dict(assigner), "allowed_border": -1, "pos_weight": -1, "debug": False},
        **head,
    }


MMDET_HEADS: dict[str, tuple[dict[str, Any], str]] = {
    "fcos": ({"type": "FCOSHead"}, "distances branch"),
    "atss": (_anchored("ATSSHead", loss_centerness=BCE), "deltas branch"),
    "max_iou": (_anchored("RetinaHead", MAX_IOU, reg_decoded_bbox=True), "deltas"),
    "gfl": (
        _anchored(
            "GFLHead",
            bbox_coder={"type": "DistancePointBBoxCoder"},
            loss_cls={"type": "QualityFocalLoss", "use_sigmoid": True, "beta": 2.0, "loss_weight": 1.0},
        ),
        "distribution",
    ),
    "paa_mmdet": (
        _anchored(
            "PAAHead",
            {**MAX_IOU, "pos_iou_thr": 0.1, "neg_iou_thr": 0.1},
            loss_bbox={"type": "GIoULoss", "loss_weight": 1.3},
            loss_centerness={**BCE, "loss_weight": 0.5},
        ),
        "deltas branch",
    ),
    "ddod": (
        _anchored(
            "DDODHead",
            loss_iou=BCE,
            train_cfg={
                "assigner": {**ATSS, "alpha": 0.8},
                "reg_assigner": {**ATSS, "alpha": 0.5},
                "allowed_border": -1,
                "pos_weight": -1,
                "debug": False,
            },
        ),
        "deltas branch",
    ),
    "autoassign": (
        {"type": "AutoAssignHead", "loss_bbox": {"type": "GIoULoss", "loss_weight": 5.0}},
        "distances branch",
    ),
    "free_anchor": (
        _anchored(
            "FreeAnchorRetinaHead", MAX_IOU, loss_bbox={"type": "SmoothL1Loss", "beta": 0.11, "loss_weight": 0.75}
        ),
        "deltas",
    ),
    "simota_mmdet": ({"type": "YOLOXHead", "train_cfg": {"assigner": {"type": "SimOTAAssigner"}}}, "sides branch"),
    "foveabox": ({"type": "FoveaHead", "strides": [8, 16, 32, 64, 128]}, "raw"),
}
"""By the name of our assigner: the head's config, and in what form it takes boxes and whether it has a second branch."""


NEEDED = {"paa_mmdet": "sklearn"}  # what mmdet imports when the head is used


def available_heads() -> list[str]:
    """Names of the heads that work with what is installed."""
    return [name for name in MMDET_HEADS if name not in NEEDED or find_spec(NEEDED[name])]


def loss_of(name: str, predictions: Predictions, targets: Targets, shape: tuple[int, int]) -> Callable[[], Tensor]:
    """A call that is the head's loss and its backward on maps of these predictions.

    Args:
        name: of MMDET_HEADS.
        predictions: (B, N, C) logits, boxes, objectness of a pyramid over an image of `shape`.
        targets: of its images.
        shape: height and width, pixels.
    """
    register_all_modules()
    config, form = MMDET_HEADS[name]
    strides = predictions.strides.unique().int().tolist()
    config = {"num_classes": predictions.logits.shape[-1], "in_channels": 32, "feat_channels": 32, **config}
    if "anchor_generator" in config:
        config["anchor_generator"] = {**ANCHORS, "strides": strides}
    else:
        config["strides"] = strides
    head = MODELS.build(ConfigDict(config))
    maps = [_maps(values, predictions, shape) for values in _outputs(head, predictions, form)]
    leaves = [[level.detach().clone().requires_grad_() for level in levels] for levels in maps]
    instances = [
        InstanceData(bboxes=boxes[mask], labels=labels[mask])
        for boxes, labels, mask in zip(targets.boxes, targets.labels, targets.mask, strict=True)
    ]
    metas = [{"img_shape": shape, "pad_shape": shape, "scale_factor": 1.0}] * len(instances)

    def step() -> Tensor:
        for levels in leaves:
            for level in levels:
                level.grad = None
        losses = head.loss_by_feat(*leaves, batch_gt_instances=instances, batch_img_metas=metas)
        total = sum(torch.stack(list(v)).sum() if isinstance(v, list | tuple) else v.sum() for v in losses.values())
        total.backward()
        return total.detach()

    return step


def _outputs(head: Any, predictions: Predictions, form: str) -> list[Tensor]:
    """Logits, boxes in the head's form, and the second branch where it has one, (B, N, ·)."""
    kind, *branch = form.split()
    points, strides, boxes = predictions.points, predictions.strides[:, None], predictions.boxes
    if kind == "distances":
        sides = torch.cat([points - boxes[..., :2], boxes[..., 2:] - points], -1)
    elif kind == "deltas":
        side = 8 * strides / 2
        corner = points - strides / 2  # mmdet's anchors sit on cells' corners
        anchors = torch.cat([corner - side, corner + side], -1)
        sides = torch.stack([head.bbox_coder.encode(anchors, of_image) for of_image in boxes])
    elif kind == "sides":
        middle, extent = (boxes[..., :2] + boxes[..., 2:]) / 2, (boxes[..., 2:] - boxes[..., :2]).clamp(min=1e-3)
        sides = torch.cat([(middle - (points - strides / 2)) / strides, (extent / strides).log()], -1)
    else:
        sides = torch.randn(*boxes.shape[:2], 4 * 17 if kind == "distribution" else 4)
    return [predictions.logits, sides, *([predictions.objectness[..., None]] if branch else [])]


def _maps(values: Tensor, predictions: Predictions, shape: tuple[int, int]) -> list[Tensor]:
    """Level maps (B, K, H, W) of values (B, N, K)."""
    levels = values.split(predictions.level_sizes, 1)
    strides = predictions.strides.unique().int().tolist()
    sizes = [(-(-shape[0] // stride), -(-shape[1] // stride)) for stride in strides]
    return [level.transpose(1, 2).unflatten(2, size) for level, size in zip(levels, sizes, strict=True)]
