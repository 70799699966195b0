"""What a dense head may have between a tower and its second branch, over all pyramid levels at once.

Each is a module from one map (B, channels, H_l, W_l) per level to one (B, out_channels, H_l, W_l) per level.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from mmcv.cnn import ConvModule
from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool2d

from ..assigners.checks import check_count, check_norm_groups
from ..assigners.registry import Registry

BRANCH_TOWERS = Registry("branch tower")


@BRANCH_TOWERS.register("max_filter")
class MaxFilter(nn.Module):
    """3D max filtering: each cell beside the largest of its neighbours in place and level (DeFCN, arXiv 2012.03544, 3.3).

    A convolution that the levels share; of its maps those of the level and its neighbours, resized to it, are maximised over
    levels and a window; the feature itself is added, normed and rectified. So a branch can tell the best of nearby samples.

    Args:
        channels: of the features.
        reach: levels on each side that are looked at.
        kernel: side of the window, cells, an odd number.
        norm_groups: of the GroupNorm; None has no norm (as good in the paper's repository, and faster).

    Raises:
        ValueError: for a negative reach, a kernel that is even or below 1, and groups that do not divide the channels.
    """

    def __init__(self, channels: int, reach: int = 1, kernel: int = 3, norm_groups: int | None = 32) -> None:
        super().__init__()
        check_count("reach", reach, 0)
        check_count("kernel", kernel, 1)
        if kernel % 2 == 0:
            raise ValueError(f"kernel: expected an odd number, got {kernel}")
        check_norm_groups(norm_groups, channels)
        self.out_channels = channels
        self.reach = reach
        self.kernel = kernel
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = nn.Identity() if norm_groups is None else nn.GroupNorm(norm_groups, channels)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        maps = [self.conv(feature) for feature in features]
        return [self.norm(self._largest(maps, level) + feature).relu() for level, feature in enumerate(features)]

    def _largest(self, maps: list[Tensor], level: int) -> Tensor:
        """(B, channels, H, W) the largest of neighbouring cells on neighbouring levels."""
        size = maps[level].shape[-2:]
        near = maps[max(level - self.reach, 0) : level + self.reach + 1]
        resized = [m if m.shape[-2:] == size else interpolate(m, size, mode="bilinear") for m in near]
        return max_pool2d(torch.stack(resized).amax(0), self.kernel, stride=1, padding=self.kernel // 2)


@BRANCH_TOWERS.register("convolutions")
class Convolutions(nn.Module):
    """Convolutions of the branch's own with GroupNorm and ReLU (one-to-few, arXiv 2303.11567: three with 64 channels).

    Args:
        channels: of the features.
        width: of what comes out.
        depth: how many.
        norm_groups: of the GroupNorm.
    """

    def __init__(self, channels: int, width: int = 64, depth: int = 3, norm_groups: int = 32) -> None:
        super().__init__()
        check_count("depth", depth, 1)
        check_norm_groups(norm_groups, width)
        norm = {"type": "GN", "num_groups": norm_groups, "requires_grad": True}
        widths = [channels, *[width] * depth]
        layers = (ConvModule(*pair, 3, padding=1, norm_cfg=norm, bias=True) for pair in pairwise(widths))
        self.layers = nn.Sequential(*layers)
        self.out_channels = width
        self.width = width
        self.depth = depth

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        return [self.layers(feature) for feature in features]
