"""TOOD's head: one tower for both tasks, whose layers each task weighs for itself, and boxes read where they agree best.

"TOOD: Task-aligned One-stage Object Detection" (arXiv 2108.07755), section 3.1.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from mmcv.cnn import ConvModule
from torch import Tensor, nn

from ..assigners.checks import check_choice
from ..assigners.description import constants
from ..assigners.needs import required
from ..ops import sample_maps
from .streams import Streams


class TaskFeatures(NamedTuple):
    """Features (B, channels, H, W) for classes and for boxes, and those of all layers (B, layers * channels, H, W)."""

    classes: Tensor
    boxes: Tensor
    both: Tensor


class TaskAlignedTower(nn.Module):
    """In the place of two towers: one, decomposed by task; the map of a second branch; and the alignment of boxes.

    Args:
        in_channels: of every pyramid level.
        channels, depth: width and number of the tower's convolutions.
        norm_groups: groups of GroupNorm.
        bias: give the tower's convolutions a bias although a norm follows.
        branch: whether the second branch is predicted.
        branch_prior: initial probability of the second branch.
        border: what a box is read as beyond the map: the nearest cell ("clamp"), or zeros as in the original, which pull boxes
            at the border towards the origin.

    Raises:
        ValueError: for an unknown border.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        depth: int,
        norm_groups: int = 32,
        bias: bool = False,
        branch: bool = True,
        branch_prior: float = 0.01,
        border: Literal["zeros", "clamp"] = "clamp",
    ) -> None:
        super().__init__()
        check_choice("border", border, ("zeros", "clamp"))
        self.border, numbers = border, Streams()
        norm = {"type": "GN", "num_groups": norm_groups, "requires_grad": True}
        self.inter_convs = nn.ModuleList(
            ConvModule(in_channels if index == 0 else channels, channels, 3, padding=1, norm_cfg=norm, bias=bias)
            for index in range(depth)
        )
        self.cls_decomp, self.reg_decomp = (TaskDecomposition(channels, depth, norm_groups) for _ in range(2))
        self.cls_prob_module = _small_map(depth * channels, max(channels // 4, 1), 1) if branch else None
        self.reg_offset_module = _small_map(depth * channels, max(channels // 4, 1), 8)
        self._initialize(numbers, branch_prior)

    extra_repr = constants

    def _initialize(self, numbers: Streams, branch_prior: float) -> None:
        for name, module in self.named_modules():
            if isinstance(module, nn.Conv2d):
                careful = "layer_attention" in name or "reg_offset" in name
                with numbers.of(name):
                    nn.init.normal_(module.weight, std=0.001 if careful else 0.01)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        if self.cls_prob_module is not None:
            *_, bias = self.cls_prob_module.parameters()
            nn.init.constant_(bias, -math.log((1 - branch_prior) / branch_prior))

    def forward(self, feature: Tensor) -> TaskFeatures:
        """Features of both tasks from one pyramid level (B, in_channels, H, W)."""
        layers = []
        for convolution in self.inter_convs:
            feature = convolution(feature)
            layers.append(feature)
        both = torch.cat(layers, 1)
        context = both.mean((2, 3), keepdim=True)
        return TaskFeatures(self.cls_decomp(both, context), self.reg_decomp(both, context), both)

    def branch(self, features: TaskFeatures) -> Tensor:
        """(B, 1, H, W) logits of the second branch."""
        return required("cls_prob_module", self.cls_prob_module)(features.both)

    def align(self, features: TaskFeatures, boxes: Tensor) -> Tensor:
        """Boxes (B, 4, H, W) xyxy, each corner coordinate read near its cell; one that comes out inside out stays as it was."""
        offsets = self.reg_offset_module(features.both).to(boxes.dtype).unflatten(1, (4, 2))
        moved = sample_maps(boxes.contiguous(), offsets, border=self.border)
        inside_out = (moved[:, :2] > moved[:, 2:]).any(1, keepdim=True)
        return torch.where(inside_out, boxes, moved)


class TaskDecomposition(nn.Module):
    """One task's features from those of all layers: every layer has a weight, which the image's mean features say.

    Args:
        channels, depth: of each layer, and the number of layers.
        norm_groups: groups of GroupNorm.
    """

    def __init__(self, channels: int, depth: int, norm_groups: int) -> None:
        super().__init__()
        wide, narrow = depth * channels, max(channels // 8, 1)
        self.layer_attention = nn.Sequential(
            nn.Conv2d(wide, narrow, 1), nn.ReLU(inplace=True), nn.Conv2d(narrow, depth, 1), nn.Sigmoid()
        )
        norm = {"type": "GN", "num_groups": norm_groups, "requires_grad": True}
        self.reduction_conv = ConvModule(wide, channels, 1, norm_cfg=norm, bias=False)

    def forward(self, both: Tensor, context: Tensor) -> Tensor:
        """(B, channels, H, W) from all layers (B, depth * channels, H, W) and their mean (B, depth * channels, 1, 1)."""
        weight = self.layer_attention(context)  # (B, depth, 1, 1)
        channels = both.shape[1] // weight.shape[1]
        return self.reduction_conv(both * weight.repeat_interleave(channels, 1))


def _small_map(channels: int, narrow: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, narrow, 1), nn.ReLU(inplace=True), nn.Conv2d(narrow, out, 3, padding=1))
