"""The dense head: two convolution towers on every pyramid level, a class score, a box and a second branch per point.

FCOS (arXiv 1904.01355) with the options of its descendants. Parameter names are those of the FCOS family's checkpoints
(cls_convs, reg_convs, conv_cls, conv_reg, conv_centerness, scales), so those load as they are.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from mmcv.cnn import ConvModule, Scale
from mmcv.ops import ModulatedDeformConv2dPack
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from ..assigners import Assigner, Assignment, Predictions, Targets, build
from ..assigners.boxes import boxes_from_distances
from ..assigners.description import constants
from ..assigners.normalizers import mean_over_ranks
from ..assigners.weighting.common import pair_centerness
from .points import flatten_levels, level_points
from .refinement import BoxRefinement

PROVIDES = frozenset({"logits", "boxes", "points", "strides", "level_sizes"})
CHOICES = {
    "branch": ("auto", "centerness", "objectness", None),
    "branch_on": ("reg", "cls"),
    "distances": ("exp", "relu"),
}


class DenseHead(nn.Module):
    """FCOS-style head under any assigner that a dense head can serve.

    Args:
        num_classes: C.
        in_channels: of every pyramid level.
        assigner: an `Assigner`, or what `detassign.assigners.build` takes.
        feat_channels, stacked_convs: width and depth of the towers.
        strides: pixels per cell of each level.
        branch: meaning of the second branch. "centerness" is trained on FCOS's centerness and multiplies the score at
            inference; "objectness" is part of the score model and trained through it; None has no such branch; "auto"
            follows the assigner: objectness if its score model uses it, centerness if its boxes are weighted by that.
        branch_on: tower that carries the second branch.
        distances: "exp" predicts log-distances in pixels (FCOS), "relu" distances in strides (FCOS with norm_on_bbox,
            DW).
        norm_groups: groups of the towers' GroupNorm.
        conv_bias: give tower convolutions a bias although a norm follows (DW).
        dcn_on_last_conv: make the last convolution of both towers a modulated deformable one.
        refinement: None, or arguments of BoxRefinement such as {"border": "clamp"}.
        class_prior: initial probability of every class.
        initial_distance: bias of the box convolution (DW starts boxes 4 strides to each side).

    Raises:
        ValueError: for an unknown choice, and when the assigner needs what a dense head does not provide.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        assigner: Assigner | str | dict[str, Any] = "fcos",
        feat_channels: int = 256,
        stacked_convs: int = 4,
        strides: tuple[int, ...] = (8, 16, 32, 64, 128),
        branch: Literal["auto", "centerness", "objectness"] | None = "auto",
        branch_on: Literal["reg", "cls"] = "reg",
        distances: Literal["exp", "relu"] = "relu",
        norm_groups: int = 32,
        conv_bias: bool = False,
        dcn_on_last_conv: bool = False,
        refinement: dict[str, Any] | None = None,
        class_prior: float = 0.01,
        initial_distance: float = 0.0,
    ) -> None:
        super().__init__()
        for name, value in (("branch", branch), ("branch_on", branch_on), ("distances", distances)):
            if value not in CHOICES[name]:
                raise ValueError(f"{name}: expected one of {CHOICES[name]}, got {value!r}")
        self.num_classes = num_classes
        self.strides = tuple(strides)
        self.distances = distances
        self.branch_on = branch_on
        self.assigner = build(assigner, num_classes=num_classes)
        self.branch = second_branch(self.assigner) if branch == "auto" else branch
        check_assigner(self.assigner, self.branch)

        tower = {"norm_groups": norm_groups, "bias": conv_bias, "deformable": dcn_on_last_conv}
        self.cls_convs = make_tower(in_channels, feat_channels, stacked_convs, **tower)
        self.reg_convs = make_tower(in_channels, feat_channels, stacked_convs, **tower)
        logits = num_classes + self.assigner.score.background_column
        self.conv_cls = nn.Conv2d(feat_channels, logits, 3, padding=1)
        self.conv_reg = nn.Conv2d(feat_channels, 4, 3, padding=1)
        self.conv_centerness = nn.Conv2d(feat_channels, 1, 3, padding=1) if self.branch else None
        self.scales = nn.ModuleList(Scale(1.0) for _ in self.strides)
        self._initialize(class_prior, initial_distance)
        self.refinement = None if refinement is None else BoxRefinement(feat_channels, **refinement)

    extra_repr = constants

    def _initialize(self, class_prior: float, initial_distance: float) -> None:
        for module in self.modules():
            if type(module) is nn.Conv2d:  # deformable convolutions keep their own initialisation
                nn.init.normal_(module.weight, std=0.01)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.constant_(self.conv_reg.bias, initial_distance)
        if not self.assigner.score.background_column:
            nn.init.constant_(self.conv_cls.bias, -math.log((1 - class_prior) / class_prior))

    def forward(self, features: list[Tensor]) -> Predictions:
        """Predictions from one feature map (B, in_channels, H_l, W_l) per stride."""
        if len(features) != len(self.strides):
            raise ValueError(f"features: expected {len(self.strides)} levels, got {len(features)}")
        levels = [self._level(*level) for level in zip(features, self.scales, self.strides, strict=True)]
        logits, distances, branch, points = (list(column) for column in zip(*levels, strict=True))
        points = [p.flatten(0, 1) for p in points]
        sizes = tuple(len(p) for p in points)
        all_points = torch.cat(points)
        strides = torch.cat([p.new_full((len(p),), float(s)) for p, s in zip(points, self.strides, strict=True)])
        return Predictions(
            flatten_levels(logits),
            boxes_from_distances(all_points, flatten_levels(distances)),
            flatten_levels(branch)[..., 0] if self.branch else None,
            all_points,
            strides,
            sizes,
        )

    def _level(self, feature: Tensor, scale: Scale, stride: int) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
        """Logits, distances in pixels (float32), second branch and points of one level."""
        cls_feature, reg_feature = self.cls_convs(feature), self.reg_convs(feature)
        distances = scale(self.conv_reg(reg_feature))
        distances = distances.to(torch.promote_types(distances.dtype, torch.float32))  # half overflows at 65504 px
        distances = distances.exp() if self.distances == "exp" else distances.clamp(min=0) * stride
        points = level_points(*feature.shape[-2:], stride, like=distances)
        if self.refinement is not None:
            distances = self.refinement(reg_feature, distances, points, stride)
        branch = None
        if self.branch:
            branch = self.conv_centerness(reg_feature if self.branch_on == "reg" else cls_feature)
        return self.conv_cls(cls_feature), distances, branch, points

    def loss(self, features: list[Tensor], targets: Targets) -> dict[str, Tensor]:
        """The assigner's three terms, and loss_centerness where there is a centerness branch."""
        return self.assign_and_loss(self(features), targets)[1]

    def assign_and_loss(self, predictions: Predictions, targets: Targets) -> tuple[Assignment, dict[str, Tensor]]:
        """Assignment and losses of predictions that this head made."""
        assignment, losses = self.assigner.assign_and_loss(predictions, targets)
        if self.branch == "centerness":
            losses["loss_centerness"] = centerness_loss(predictions, targets, assignment)
        return assignment, losses

    def scores(self, predictions: Predictions) -> tuple[Tensor, Tensor | None]:
        """Class scores (B, N, C) and the factor (B, N) that multiplies them after filtering, or None."""
        predictions = predictions.at_least_float32()
        factor = predictions.objectness.sigmoid() if self.branch == "centerness" else None
        return self.assigner.score(predictions).probability, factor


def make_tower(
    in_channels: int, channels: int, depth: int, norm_groups: int, bias: bool, deformable: bool
) -> nn.Sequential:
    """`depth` 3x3 convolutions with GroupNorm and ReLU; the last one modulated deformable if asked."""
    layers = []
    for index in range(depth):
        deform = deformable and index == depth - 1
        layers.append(
            ConvModule(
                in_channels if index == 0 else channels,
                channels,
                3,
                padding=1,
                conv_cfg={"type": ModulatedDeformConv2dPack} if deform else None,
                norm_cfg={"type": "GN", "num_groups": norm_groups, "requires_grad": True},
                bias=bias,
            )
        )
    return nn.Sequential(*layers)


def second_branch(assigner: Assigner) -> str | None:
    """What a dense head's second branch should be for this assigner."""
    if assigner.score.uses_objectness:
        return "objectness"
    return "centerness" if getattr(assigner.weighting, "box_weight", None) == "centerness" else None


def check_assigner(assigner: Assigner, branch: str | None) -> None:
    """Raise ValueError when a dense head with this second branch cannot serve the assigner."""
    provides = PROVIDES | ({"objectness"} if branch else set())
    missing = sorted(assigner.needs - provides)
    if missing:
        wanted = ", ".join(missing)
        raise ValueError(f"assigner: needs {wanted}, which this dense head (branch={branch!r}) does not provide")
    if branch == "centerness" and assigner.score.uses_objectness:
        raise ValueError(
            "branch: 'centerness' cannot serve a score model that multiplies in objectness; use 'objectness'"
        )
    if branch == "objectness" and not assigner.score.uses_objectness:
        raise ValueError("branch: 'objectness' is trained by no one under this score model; use 'centerness' or None")


def centerness_loss(predictions: Predictions, targets: Targets, assignment: Assignment) -> Tensor:
    """Binary cross entropy of the second branch with FCOS's centerness over the matched pairs, by their number."""
    matches = assignment.matches
    objectness = predictions.objectness.float()[matches.image, matches.sample]
    wanted = pair_centerness(predictions, targets, matches).to(objectness)
    count = mean_over_ranks(objectness.new_full((), len(objectness)))
    return binary_cross_entropy_with_logits(objectness, wanted, reduction="sum") / count.clamp(min=1)
