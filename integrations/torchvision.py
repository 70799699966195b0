"""Assigners in torchvision's detectors: FCOS and RetinaNet.

>>> from torchvision.models.detection import fcos_resnet50_fpn
>>> model = fcos_resnet50_fpn(weights=None, weights_backbone=None, num_classes=3, min_size=64)  # row 0 is no class
>>> model = use_assigner(model, "dw")
>>> losses = model([torch.rand(3, 64, 64)], [{"boxes": torch.tensor([[8.0, 8.0, 50.0, 50.0]]), "labels": torch.tensor([2])}])
>>> sorted(losses)
['loss_box', 'loss_cls_neg', 'loss_cls_pos']
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import FCOS, RetinaNet

from ..assigners import Assigner, Predictions, Targets
from ..assigners.boxes import center, sides
from .folding import assigner_for, certain, check_free, silence, with_objectness

PROVIDES = frozenset({"logits", "boxes", "points", "strides", "level_sizes", "objectness"})


def use_assigner(model: FCOS | RetinaNet, assigner: Assigner | str | dict[str, Any]) -> FCOS | RetinaNet:
    """Let an assigner say what the model learns; called on the model itself, which comes back, before an optimizer is made.

    FCOS's centerness is the assigner's second branch: objectness where its score multiplies one in (DW), else what it trains
    there, else it is held at 1. RetinaNet has none: where an assigner's score wants one, its classifier grows a column that is
    folded into the logits. Both detect as before: torchvision's inference and state dicts know nothing of assigners. FCOS
    takes the root of a score; NMS is off where one sample answers for an object.

    Args:
        model: of torchvision.
        assigner: what `detassign.assigners.build` takes; C is the model's number of classes, torchvision's row 0 included.

    Raises:
        ValueError: when the assigner needs what the model has not; TypeError for another model.
    """
    check_free(model)
    prepare = next((own for kind, own in KINDS.items() if isinstance(model, kind)), None)
    if prepare is None:
        raise TypeError(f"model: expected torchvision's FCOS or RetinaNet, got {type(model).__name__}")
    provides, num_classes = PROVIDES | prepare.more, model.head.classification_head.num_classes
    own = assigner_for(assigner, num_classes, provides)
    if own.score.background_column:
        raise ValueError(
            "assigner: its softmax wants a column for no object, which the model has not; take 'hungarian'"
        )
    prepare(model, own)
    model.assigner = own
    model.compute_loss = partial(_loss, model, prepare)
    model.anchor_generator.register_forward_hook(_remember)
    if own.cardinality != "one-to-many":
        model.nms_thresh = 1.0
    return model


def _loss(
    model: FCOS | RetinaNet,
    kind: Any,
    targets: list[dict[str, Tensor]],
    outputs: dict[str, Tensor],
    anchors: list[Tensor],
    *_: Any,
) -> dict[str, Tensor]:
    """The assigner's losses in the place of torchvision's; targets (G, 4) xyxy, pixels, of the resized images."""
    boxes, labels = ([target[key] for target in targets] for key in ("boxes", "labels"))
    predictions = kind.predictions(model, outputs, anchors[0])
    sizes = torch.tensor([size[::-1] for size in model.anchor_generator.image_sizes], dtype=torch.float32)
    return model.assigner.loss(predictions, Targets.from_lists(boxes, labels, sizes=sizes))


def _remember(generator: nn.Module, inputs: tuple[Any, ...], anchors: list[Tensor]) -> None:
    """Keep the shape of the batch that anchors were made for, which losses are not told."""
    images, features = inputs
    generator.image_sizes = images.image_sizes
    places = zip(features, generator.num_anchors_per_location(), strict=True)
    generator.level_sizes = tuple(feature.shape[-2] * feature.shape[-1] * count for feature, count in places)
    generator.level_strides = tuple(images.tensors.shape[-1] / feature.shape[-1] for feature in features)


class _FCOS:
    """One anchor at a place, as large as its stride."""

    more: frozenset[str] = frozenset()

    def __call__(self, model: FCOS, assigner: Assigner) -> None:
        if not assigner.score.uses_objectness and assigner.branch is None:
            silence(model.head.regression_head.bbox_ctrness)

    def predictions(self, model: FCOS, outputs: dict[str, Tensor], anchors: Tensor) -> Predictions:
        logits = outputs["cls_logits"]
        return Predictions(
            logits,
            model.box_coder.decode(outputs["bbox_regression"], anchors.expand(len(logits), -1, -1)),
            outputs["bbox_ctrness"][..., 0],
            center(anchors),
            sides(anchors)[:, 0],
            model.anchor_generator.level_sizes,
        )


class _RetinaNet:
    """Several anchors at a place, each of which is a sample with a prior box."""

    more = frozenset({"priors"})

    def __call__(self, model: RetinaNet, assigner: Assigner) -> None:
        head = model.head.classification_head
        if assigner.score.uses_objectness:
            head.cls_logits = with_objectness(head.cls_logits, head.num_anchors)
        elif "objectness" in assigner.needs:
            raise ValueError("assigner: trains a second branch for itself, which RetinaNet has not; take FCOS")

    def predictions(self, model: RetinaNet, outputs: dict[str, Tensor], anchors: Tensor) -> Predictions:
        logits, change = outputs["cls_logits"], outputs["bbox_regression"]
        generator = model.anchor_generator
        levels = zip(generator.level_strides, generator.level_sizes, strict=True)
        return Predictions(
            logits,
            model.box_coder.decode_single(change.flatten(0, 1), anchors.repeat(len(logits), 1)).view_as(change),
            certain(logits) if model.assigner.score.uses_objectness else None,
            center(anchors),
            torch.cat([anchors.new_full((count,), stride) for stride, count in levels]),
            generator.level_sizes,
            anchors,
        )


KINDS = {FCOS: _FCOS(), RetinaNet: _RetinaNet()}
