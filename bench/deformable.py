"""Deformable convolution beside torchvision's, beside sampled columns, and beside the plain one."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import deform_conv2d as by_torchvision

from ..ops import deform_conv2d
from .comparison import BOTH, Comparison, Run, one_pass

# Channels and map of deformable 3 x 3 convolutions in DW's recipes, 800 x 1344: the head's last, and ResNet-50's stages.
SHAPES = (
    ("head, stride 8", 256, (100, 168)),
    ("head, stride 16", 256, (50, 84)),
    ("head, stride 32", 256, (25, 42)),
    ("backbone, stride 8", 128, (100, 168)),
    ("backbone, stride 32", 512, (25, 42)),
)
IMAGES = 2
PEERS = {"torchvision": "torchvision deform_conv2d", "sampled": "grid_sample and matmul", "plain": "plain conv2d"}


def comparisons(device: str = "cpu") -> Iterator[Comparison]:
    """Modulated, two images, one offset group, forward and backward; on a GPU the op is torchvision's."""
    peers = {form: peer for form, peer in PEERS.items() if device == "cpu" or form != "torchvision"}
    for form, peer in peers.items():
        for name, channels, (height, width) in SHAPES:
            shape, case = (IMAGES, channels, height, width), f"{name}, {IMAGES} x {channels} x {height} x {width}"
            ours, theirs = (partial(prepare, shape, which, device) for which in ("kernel", form))
            yield Comparison("deform_conv2d", case, "float32", BOTH, peer, ours, theirs)


def prepare(shape: tuple[int, int, int, int], form: str, device: str = "cpu") -> Run:
    """One pass of the ``form``, "kernel" or one of ``PEERS``, on fresh arguments."""
    images, channels, height, width = shape
    maps, weight = torch.randn(shape), torch.randn(channels, channels, 3, 3) / channels
    offsets, mask = torch.randn(images, 18, height, width), torch.rand(images, 9, height, width)
    maps, weight, offsets, mask = (tensor.to(device) for tensor in (maps, weight, offsets, mask))
    if form == "plain":
        return one_pass(BOTH, partial(F.conv2d, padding=1), maps, weight)
    return one_pass(BOTH, FORMS[form], maps, weight, offsets, mask)


def _kernel(maps: Tensor, weight: Tensor, offsets: Tensor, mask: Tensor) -> Tensor:
    return deform_conv2d(maps, offsets, weight, padding=1, mask=mask)


def _torchvision(maps: Tensor, weight: Tensor, offsets: Tensor, mask: Tensor) -> Tensor:
    return by_torchvision(maps, offsets, weight, padding=1, mask=mask)


def sampled_convolution(maps: Tensor, weight: Tensor, offsets: Tensor, mask: Tensor) -> Tensor:
    """A modulated deformable 3 x 3 convolution, one offset group: columns by grid_sample, then one matrix product.

    maps (B, C, H, W), weight (O, C, 3, 3), offsets (B, 18, H, W) as (dy, dx) of each tap, mask (B, 9, H, W)
    -> (B, O, H, W).
    """
    B, C, H, W = maps.shape
    taps, rows, columns = (torch.arange(count, device=maps.device) for count in (3, H, W))
    dy, dx = offsets.view(B, 3, 3, 2, H, W).unbind(3)
    y = dy + (taps - 1).view(3, 1, 1, 1) + rows.view(H, 1)
    x = dx + (taps - 1).view(3, 1, 1) + columns
    grid = torch.stack(((2 * x + 1) / W - 1, (2 * y + 1) / H - 1), -1).view(B, 9 * H, W, 2)
    sampled = F.grid_sample(maps, grid, align_corners=False).view(B, C, 9, H * W) * mask.view(B, 1, 9, H * W)
    return (weight.flatten(1) @ sampled.flatten(1, 2)).view(B, -1, H, W)


FORMS = {"kernel": _kernel, "torchvision": _torchvision, "sampled": sampled_convolution}
