"""The dense head: two convolution towers on every pyramid level, a class score, a box and a second branch per point.

FCOS (arXiv 1904.01355) with the options of its descendants. Parameter names are those of the FCOS family's checkpoints
(cls_convs, reg_convs, conv_cls, conv_reg, conv_centerness, scales), so those load as they are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import torch
from mmcv.cnn import ConvModule, Scale
from mmcv.ops import ModulatedDeformConv2dPack
from torch import Tensor, nn

from ..assigners import BRANCHES, Assigner, Assignment, Predictions, Targets, TwoHeaded, build
from ..assigners.boxes import boxes_from_distances, side_distances
from ..assigners.checks import check_choice, check_norm_groups
from ..assigners.description import constants
from ..assigners.needs import required
from .branch_towers import BRANCH_TOWERS
from .outputs import assigners_of
from .points import flatten_levels, level_points
from .reference import wide_dtype
from .refinement import BoxRefinement
from .streams import Streams
from .task_aligned import TaskAlignedTower, TaskFeatures

PROVIDES = frozenset({"logits", "boxes", "points", "strides", "level_sizes", "distribution"})
ASSIGNERS_OF_HEAD = ("assigner", "home", "one_to_one")  # arguments that say who assigns, not what the head is like


class DenseHead(nn.Module):
    """FCOS-style head under any assigner that a dense head can serve.

    Args:
        num_classes: C.
        in_channels: of every pyramid level.
        assigner: an `Assigner`, or what `detassign.assigners.build` takes.
        feat_channels, stacked_convs: width and depth of the towers.
        strides: pixels per cell of each level.
        branch: meaning of the second branch. "objectness" is part of the score model and trained through it; a name of
            `BRANCHES` ("centerness", "iou", …) is trained as that says and multiplies the score at inference, in the place
            of what the assigner has; None has no such branch; "auto" follows the assigner.
        branch_on: tower that carries the second branch.
        branch_tower: what lies between that tower and the branch, a name of `BRANCH_TOWERS` or a dict with a "type":
            "max_filter" (POTO's 3D max filtering), "convolutions" (one-to-few); None has the branch on the tower itself.
        distances: "exp" predicts log-distances in pixels (FCOS), "relu" distances in strides (FCOS with norm_on_bbox,
            DW), "exp_strides" log-distances in strides, of which the exponential is scaled (TOOD).
        bins: each side's distance is a distribution over so many whole numbers of strides from 0, where the assigner
            needs one; None takes what its box loss asks for (GFL 17, YOLOv8 16). `distances` is without meaning then.
        norm_groups: groups of the towers' GroupNorm.
        conv_bias: give tower convolutions a bias although a norm follows (DW).
        dcn_on_last_conv: make the last convolution of both towers a modulated deformable one.
        refinement: None, or arguments of BoxRefinement such as {"border": "clamp"}.
        task_aligned: None, or arguments of TaskAlignedTower, {} for none: TOOD's tower for both tasks, and its alignment of
            boxes.
        point_offset: where in its cell a point sits, as a share of the stride; 0 is the upper left corner (TOOD, GFL).
        class_prior: initial probability of every class, and of the second branch where few samples are what it says.
        initial_distance: bias of the box convolution (DW starts boxes 4 strides to each side).
        home: the detector's usual assigner; parts by name take from it what they leave open.
        one_to_one: an assigner for a second head on the same features, held fixed, which detects; the one with `assigner`
            then only trains them (YOLOv10). A dict `assigner` may name it as well, {"type": "atss", "one_to_one": ...}. None
            has no second head, unless the assigner is one for two (`TwoHeaded`).

    Raises:
        ValueError: for an unknown choice, norm groups that do not divide the channels, a branch tower that nothing could
            use, and when the assigner needs what a dense head does not provide.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        assigner: Assigner | str | dict[str, Any] = "fcos",
        feat_channels: int = 256,
        stacked_convs: int = 4,
        strides: tuple[int, ...] = (8, 16, 32, 64, 128),
        branch: str | None = "auto",
        branch_on: Literal["reg", "cls"] = "reg",
        distances: Literal["exp", "relu", "exp_strides"] = "relu",
        bins: int | None = None,
        norm_groups: int = 32,
        conv_bias: bool = False,
        dcn_on_last_conv: bool = False,
        refinement: dict[str, Any] | None = None,
        class_prior: float = 0.01,
        initial_distance: float = 0.0,
        home: str | dict[str, Any] = "fcos",
        one_to_one: Assigner | str | dict[str, Any] | None = None,
        task_aligned: dict[str, Any] | None = None,
        point_offset: float = 0.5,
        branch_tower: str | dict[str, Any] | None = None,
    ) -> None:
        options = {
            name: value for name, value in locals().items() if name not in ("self", "__class__", *ASSIGNERS_OF_HEAD)
        }
        super().__init__()
        check_choice("branch_on", branch_on, ("reg", "cls"))
        check_choice("distances", distances, ("exp", "relu", "exp_strides"))
        check_norm_groups(norm_groups if stacked_convs else None, feat_channels)
        self.num_classes, self.strides, self.point_offset = num_classes, tuple(strides), point_offset
        self.distances, self.branch_on = distances, branch_on
        numbers = Streams()  # the towers start alike under every assigner
        with numbers.of("assigner"):
            self.assigner = whole_assigner(assigner, one_to_one, num_classes, home)
        self.branch = second_branch(self.assigner) if branch == "auto" else take_branch(self.assigner, branch)
        check_assigner(self.assigner, self.branch)
        check_towers(self.branch, branch_tower, task_aligned, dcn_on_last_conv)
        self.bins = (bins or self.assigner.bins) if "distribution" in self.assigner.needs else None

        shape, norm = (in_channels, feat_channels, stacked_convs), {"norm_groups": norm_groups, "bias": conv_bias}
        own_towers = task_aligned is None
        tower = partial(make_tower, *shape, **norm, deformable=dcn_on_last_conv)
        with numbers.of("towers"):
            self.cls_convs, self.reg_convs = (tower() if own_towers else None for _ in range(2))
        with numbers.of("outputs"):
            self._make_outputs(feat_channels, norm_groups, branch_tower, bool(self.branch and own_towers))
        self._initialize(numbers, class_prior, initial_distance)
        with numbers.of("refinement"):
            self.refinement = None if refinement is None else BoxRefinement(feat_channels, **refinement)
        self.task_aligned: TaskAlignedTower | None = None
        if not own_towers:
            prior = class_prior if self._branch_is_rare else 0.5
            own = {**norm, "branch_prior": prior, **task_aligned}
            with numbers.of("task_aligned"):
                self.task_aligned = TaskAlignedTower(*shape, branch=bool(self.branch), **own)
        second = self.assigner.auxiliary
        with numbers.of("auxiliary"):
            self.auxiliary = None if second is None else self._second_head(second, options)

    def _make_outputs(
        self, channels: int, norm_groups: int, branch_tower: str | dict[str, Any] | None, own_branch: bool
    ) -> None:
        """The convolutions of classes, boxes and the second branch, and the scale of every level."""
        logits = self.num_classes + self.assigner.score.background_column
        self.conv_cls = nn.Conv2d(channels, logits, 3, padding=1)
        self.conv_reg = nn.Conv2d(channels, 4 * (self.bins or 1), 3, padding=1)
        self.branch_tower = None
        if branch_tower is not None:
            self.branch_tower = BRANCH_TOWERS.build(branch_tower, channels=channels, norm_groups=norm_groups)
        branch_channels = getattr(self.branch_tower, "out_channels", channels)
        self.conv_centerness = nn.Conv2d(branch_channels, 1, 3, padding=1) if own_branch else None
        self.scales = nn.ModuleList(Scale(1.0) for _ in self.strides)

    def _second_head(self, assigner: Assigner, options: dict[str, Any]) -> DenseHead:
        """A head of the same options under another assigner; a branch tower goes where there is a branch."""
        branch = second_branch(assigner) if options["branch"] == "auto" else options["branch"]
        return DenseHead(assigner=assigner, **{**options, "branch_tower": options["branch_tower"] if branch else None})

    extra_repr = constants

    @property
    def _branch_is_rare(self) -> bool:
        """Whether the second branch is to say yes of few samples."""
        return any(getattr(part, "rare", False) for part in (self.assigner.branch, self.assigner.score))

    def _initialize(self, numbers: Streams, class_prior: float, initial_distance: float) -> None:
        for name, module in self.named_modules():
            if type(module) is nn.Conv2d:  # deformable convolutions keep their own initialisation
                with numbers.of(name):
                    nn.init.normal_(module.weight, std=0.01)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.constant_(required("bias", self.conv_reg.bias), initial_distance)
        if not self.assigner.score.background_column:
            nn.init.constant_(required("bias", self.conv_cls.bias), -math.log((1 - class_prior) / class_prior))
        if self.conv_centerness is not None and self._branch_is_rare:
            nn.init.constant_(required("bias", self.conv_centerness.bias), -math.log((1 - class_prior) / class_prior))

    def forward(self, features: list[Tensor], strides: Sequence[int] | None = None) -> Predictions:
        """Predictions of a batch; in training also of the auxiliary head.

        Args:
            features: a map (B, in_channels, H_l, W_l) of each level.
            strides: pixels per cell of each, where they are not the head's own.
        """
        if len(features) != len(self.strides):
            raise ValueError(f"features: expected {len(self.strides)} levels, got {len(features)}")
        strides = self.strides if strides is None else strides
        if self.auxiliary is None or not self.training:
            return self._predictions(features, strides)
        own = self._predictions([feature.detach() for feature in features], strides)
        return replace(own, auxiliary=self.auxiliary(features, strides))

    def _predictions(self, features: list[Tensor], level_strides: Sequence[int]) -> Predictions:
        levels = [self._level(*level) for level in zip(features, self.scales, level_strides, strict=True)]
        logits, distances, branch, points, distribution = (list(column) for column in zip(*levels, strict=True))
        if self.branch_tower is not None:
            branch = list(map(required("conv_centerness", self.conv_centerness), self.branch_tower(branch)))
        points = [p.flatten(0, 1) for p in points]
        sizes = tuple(p.shape[0] for p in points)
        all_points = torch.cat(points)
        strides = torch.cat([p.new_full((p.shape[0],), float(s)) for p, s in zip(points, level_strides, strict=True)])
        return Predictions(
            flatten_levels(logits),
            boxes_from_distances(all_points, flatten_levels(distances)),
            flatten_levels(branch)[..., 0] if self.branch else None,
            all_points,
            strides,
            sizes,
            distribution=flatten_levels(distribution).unflatten(-1, (4, self.bins)) if self.bins else None,
        )

    def _level(self, feature: Tensor, scale: nn.Module, stride: int) -> tuple[Tensor | None, ...]:
        """Logits, distances in pixels (float32), second branch, points and distribution of one level.

        Where there is a branch tower, the feature that it starts from is in the place of the branch.
        """
        cls_feature, reg_feature, features = self._features(feature)
        raw = self.conv_reg(reg_feature)
        raw = raw.to(wide_dtype(raw))  # half overflows at 65504 px
        raw = scale(raw.exp() if self.distances == "exp_strides" and not self.bins else raw)
        distances = self._distances(raw, stride)
        height, width = feature.shape[-2:]
        points = level_points(height, width, stride, like=distances, offset=self.point_offset)
        if self.refinement is not None:
            distances = self.refinement(reg_feature, distances, points, stride)
        if features is not None:
            distances = self._aligned(features, distances, points)
        branch = self._branch(cls_feature, reg_feature, features) if self.branch else None
        return self.conv_cls(cls_feature), distances, branch, points, raw if self.bins else None

    def _features(self, feature: Tensor) -> tuple[Tensor, Tensor, TaskFeatures | None]:
        """Features of classes, of boxes, and of the tower that both came from, where there is one."""
        if self.task_aligned is None:
            return required("cls_convs", self.cls_convs)(feature), required("reg_convs", self.reg_convs)(feature), None
        features = self.task_aligned(feature)
        return features.classes, features.boxes, features

    def _aligned(self, features: TaskFeatures, distances: Tensor, points: Tensor) -> Tensor:
        boxes = boxes_from_distances(points, distances.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        aligned = required("task_aligned", self.task_aligned).align(features, boxes)
        return side_distances(points, aligned.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def _branch(self, cls_feature: Tensor, reg_feature: Tensor, features: TaskFeatures | None) -> Tensor:
        if features is not None:
            return required("task_aligned", self.task_aligned).branch(features)
        feature = reg_feature if self.branch_on == "reg" else cls_feature
        return feature if self.branch_tower is not None else required("conv_centerness", self.conv_centerness)(feature)

    def _distances(self, raw: Tensor, stride: int) -> Tensor:
        """(B, 4, H, W) pixels from what the box convolution says."""
        if self.bins:
            share = raw.unflatten(1, (4, self.bins)).softmax(2)
            bins = torch.arange(self.bins, device=raw.device, dtype=raw.dtype)
            with torch.autocast(raw.device.type, enabled=False):  # a step of bfloat16 is pixels on a coarse level
                return stride * torch.einsum("bskhw,k->bshw", share, bins)
        return raw.exp() if self.distances == "exp" else raw.clamp(min=0) * stride  # "exp_strides" is not negative

    def loss(self, features: list[Tensor], targets: Targets) -> dict[str, Tensor]:
        """The assigner's terms, and loss_BRANCH where the second branch is trained by itself."""
        return self.assign_and_loss(self(features), targets)[1]

    def assign_and_loss(self, predictions: Predictions, targets: Targets) -> tuple[Assignment, dict[str, Tensor]]:
        """Assignment and losses of predictions that this head made."""
        return self.assigner.assign_and_loss(predictions, targets)

    def scores(self, predictions: Predictions) -> tuple[Tensor, Tensor | None]:
        """Class scores (B, N, C) and the factor (B, N) that multiplies them after filtering, or None."""
        return self.assigner.inference_scores(predictions)


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


def second_branch(assigner: Assigner | TwoHeaded) -> str | None:
    """What a dense head's second branch is for this assigner."""
    if assigner.score.uses_objectness:
        return "objectness"
    return assigner.branch and assigner.branch.name


def check_towers(branch: str | None, branch_tower: Any, task_aligned: Any, deformable: bool) -> None:
    """Raise ValueError for a tower that nothing could use."""
    if branch_tower is not None and (not branch or task_aligned is not None):
        reason = "there is no second branch" if not branch else "the tower of both tasks has a branch of its own"
        raise ValueError(f"branch_tower: {reason} that it could serve; leave it out")
    if task_aligned is not None and deformable:
        raise ValueError("task_aligned: its tower has no deformable convolution; leave dcn_on_last_conv out")


def take_branch(assigner: Assigner | TwoHeaded, branch: str | None) -> str | None:
    """Make the assigner train this second branch, unless it is part of the score model already; gives it back."""
    if branch != "objectness":
        assigner.branch = branch and BRANCHES.build(branch)
    return branch


def whole_assigner(
    assigner: Assigner | str | dict[str, Any],
    one_to_one: Assigner | str | dict[str, Any] | None,
    num_classes: int,
    home: str | dict[str, Any],
) -> Assigner | TwoHeaded:
    """The assigner, with that of a second head where there is one; see `DenseHead`."""
    own, others = assigners_of(assigner, ("one_to_one",), num_classes, home)
    if one_to_one is not None:
        others = {"one_to_one": build(one_to_one, num_classes, home)}
    return TwoHeaded(others["one_to_one"], own) if others else own


def check_assigner(assigner: Assigner | TwoHeaded, branch: str | None) -> None:
    """Raise ValueError when a dense head with this second branch cannot serve the assigner."""
    provides = PROVIDES | ({"objectness"} if branch else set())
    missing = sorted(assigner.needs - provides)
    if missing:
        wanted = ", ".join(missing)
        raise ValueError(f"assigner: needs {wanted}, which this dense head (branch={branch!r}) does not provide")
    if assigner.branch is not None and assigner.score.uses_objectness:
        raise ValueError(
            f"branch: {assigner.branch.name!r} cannot serve a score model that multiplies in objectness; use 'objectness'"
        )
    if branch == "objectness" != second_branch(assigner):
        raise ValueError("branch: 'objectness' is trained by no one under this score model; use 'centerness' or None")
