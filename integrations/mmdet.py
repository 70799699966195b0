"""Assigners in mmdet 3 by config: heads of mmdet's that ask one for their losses.

    custom_imports = dict(imports=["detassign.integrations.mmdet"])
    model = dict(bbox_head=dict(type="AssignedFCOSHead", assigner="dw"))  # the rest of the head as before

`Assigned` in front of FCOSHead, DETRHead, ConditionalDETRHead, DABDETRHead, DeformableDETRHead and DINOHead.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..compat import install as _install

_install()  # before mmdet is imported

from mmdet.models import (  # noqa: E402
    ConditionalDETRHead,
    DABDETRHead,
    DeformableDETRHead,
    DETRHead,
    DINOHead,
    FCOSHead,
)
from mmdet.registry import MODELS  # noqa: E402

from ..assigners import Predictions, Targets  # noqa: E402
from ..assigners.boxes import boxes_from_distances  # noqa: E402
from ..assigners.queries import QueryOutputs, layer_names, named, stacked_predictions  # noqa: E402
from .folding import assigner_for, certain, silence, with_objectness  # noqa: E402

DENSE = frozenset({"logits", "boxes", "points", "strides", "level_sizes", "objectness"})
QUERIES = frozenset({"logits", "boxes", "points", "strides", "level_sizes", "objectness", "priors"})


@MODELS.register_module()
class AssignedFCOSHead(FCOSHead):
    """mmdet's FCOS head under any assigner; its centerness is the second branch, held at 1 where nobody trains it.

    Args:
        assigner: what `detassign.assigners.build` takes.
        arguments: of FCOSHead.
    """

    def __init__(self, *args: Any, assigner: Any = "fcos", **arguments: Any) -> None:
        super().__init__(*args, **arguments)
        self.assigned = assigner_for(assigner, self.num_classes, DENSE)
        check_sigmoid(self.assigned, self.cls_out_channels, self.num_classes)
        if self.assigned.cardinality != "one-to-many" and self.test_cfg is not None:
            self.test_cfg["nms"] = {"type": "nms", "iou_threshold": 1.0}
        self._hold_branch()

    def init_weights(self) -> None:
        super().init_weights()
        self._hold_branch()

    def _hold_branch(self) -> None:
        if not self.assigned.score.uses_objectness and self.assigned.branch is None:
            silence(self.conv_centerness)

    def loss_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        centernesses: list[Tensor],
        batch_gt_instances: list[Any],
        batch_img_metas: list[dict[str, Any]],
        batch_gt_instances_ignore: list[Any] | None = None,
    ) -> dict[str, Tensor]:
        """The assigner's losses; maps of every level (B, K, h, w)."""
        shapes = [scores.shape[-2:] for scores in cls_scores]
        points = self.prior_generator.grid_priors(shapes, dtype=bbox_preds[0].dtype, device=bbox_preds[0].device)
        sizes = tuple(map(len, points))
        strides = torch.cat([p.new_full((len(p),), float(s)) for p, s in zip(points, self.strides, strict=True)])
        all_points, distances = torch.cat(points), flat(bbox_preds)
        distances = distances * strides[:, None] if self.norm_on_bbox else distances
        boxes = boxes_from_distances(all_points, distances)
        predictions = Predictions(flat(cls_scores), boxes, flat(centernesses)[..., 0], all_points, strides, sizes)
        return self.assigned.loss(
            predictions, targets_of(batch_gt_instances, batch_img_metas, batch_gt_instances_ignore)
        )


class AssignedQueries(DETRHead):
    """The decoder's layers under any assigner.

    The encoder's proposals and denoising queries stay as mmdet has them: its heads hand the decoder's queries, and those
    alone, to this class, which in the order of bases comes right before DETRHead.

    Args:
        assigner: what `detassign.assigners.build` takes.
        arguments: of the head; `loss_cls` of softmax or sigmoid must agree with the assigner.
    """

    def __init__(self, *args: Any, assigner: Any = "hungarian", **arguments: Any) -> None:
        if "loss_cls" in arguments:  # classes are weighted by the assigner; DETRHead takes these two for itself alone
            loss = {k: v for k, v in arguments["loss_cls"].items() if k not in ("bg_cls_weight", "class_weight")}
            arguments["loss_cls"] = loss
        super().__init__(*args, **arguments)
        self.assigned = assigner_for(assigner, self.num_classes, QUERIES)
        check_sigmoid(self.assigned, self.cls_out_channels, self.num_classes)
        if self.assigned.score.uses_objectness:
            self._grow()
        elif "objectness" in self.assigned.needs:
            raise ValueError("assigner: trains a second branch for itself, which these queries have not; take another")

    def _grow(self) -> None:
        """A column of objectness in every classifier, shared ones once."""
        if hasattr(self, "cls_branches"):
            grown = {id(branch): with_objectness(branch) for branch in self.cls_branches}
            self.cls_branches = nn.ModuleList(grown[id(branch)] for branch in self.cls_branches)
        else:
            self.fc_cls = with_objectness(self.fc_cls)

    def init_weights(self) -> None:
        super().init_weights()
        for layer in self.modules():
            if hasattr(layer, "reset_objectness"):
                layer.reset_objectness()

    def loss_by_feat(
        self,
        all_layers_cls_scores: Tensor,
        all_layers_bbox_preds: Tensor,
        batch_gt_instances: list[Any],
        batch_img_metas: list[dict[str, Any]],
        batch_gt_instances_ignore: list[Any] | None = None,
    ) -> dict[str, Tensor]:
        """The assigner's losses of all layers: (L, B, Q, C) logits and (L, B, Q, 4) cx, cy, w, h, shares."""
        targets = targets_of(batch_gt_instances, batch_img_metas, batch_gt_instances_ignore)
        logits = all_layers_cls_scores
        objectness = certain(logits) if self.assigned.score.uses_objectness else None
        outputs = QueryOutputs(logits, all_layers_bbox_preds, objectness=objectness)
        stacked = stacked_predictions(outputs, targets, geometry=True)
        return named(self.assigned.loss(stacked, targets.repeat(len(logits))), layer_names(len(logits)))


@MODELS.register_module()
class AssignedDETRHead(AssignedQueries):
    """mmdet's DETR head."""


@MODELS.register_module()
class AssignedConditionalDETRHead(ConditionalDETRHead, AssignedQueries):
    """mmdet's Conditional DETR head."""


@MODELS.register_module()
class AssignedDABDETRHead(DABDETRHead, AssignedQueries):
    """mmdet's DAB-DETR head."""


@MODELS.register_module()
class AssignedDeformableDETRHead(DeformableDETRHead, AssignedQueries):
    """mmdet's Deformable DETR head."""


@MODELS.register_module()
class AssignedDINOHead(DINOHead, AssignedQueries):
    """mmdet's DINO head."""


def check_sigmoid(assigner: Any, columns: int, classes: int) -> None:
    """Raise ValueError where the columns are not those of the assigner's score model."""
    if bool(assigner.score.background_column) != (columns > classes):
        wanted = (
            "a softmax: loss_cls.use_sigmoid=False" if columns == classes else "sigmoids: loss_cls.use_sigmoid=True"
        )
        raise ValueError(f"assigner: its score model is made of {wanted}, and the head is configured for the other")


def targets_of(instances: list[Any], metas: list[dict[str, Any]], ignored: list[Any] | None = None) -> Targets:
    """mmdet's instances, boxes xyxy in pixels, with the sizes of their images and what is to be ignored."""
    boxes = [tensor_of(each.bboxes) for each in instances]
    sizes = torch.tensor([meta["img_shape"][1::-1] for meta in metas], dtype=torch.float32)
    crowds = None
    if ignored is not None:  # of images without, mmdet says None
        crowds = [own[:0] if each is None else tensor_of(each.bboxes) for own, each in zip(boxes, ignored, strict=True)]
    return Targets.from_lists(boxes, [each.labels for each in instances], crowds, sizes)


def tensor_of(boxes: Any) -> Tensor:
    """Plain boxes, of mmdet's box structures too."""
    return getattr(boxes, "tensor", boxes)


def flat(levels: list[Tensor]) -> Tensor:
    """(B, N, K) from maps (B, K, h, w)."""
    return torch.cat([level.flatten(2).transpose(1, 2) for level in levels], 1)
