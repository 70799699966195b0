"""Names and patches of Swin's own code, which the papers' detectors and Co-DETR have copies of, in mmdet's."""

from __future__ import annotations

import re

from torch import Tensor

from .rules import Rule

START = r"backbone\.(?:0\.)?(?:body\.)?"
SWIN = (
    Rule(START + r"patch_embed\.proj\.", "backbone.patch_embed.projection."),
    Rule(START + r"layers\.(\d+\.blocks\.\d+)\.attn\.", r"backbone.stages.\1.attn.w_msa."),
    Rule(START + r"layers\.(\d+\.blocks\.\d+)\.mlp\.fc1\.", r"backbone.stages.\1.ffn.layers.0.0."),
    Rule(START + r"layers\.(\d+\.blocks\.\d+)\.mlp\.fc2\.", r"backbone.stages.\1.ffn.layers.1."),
    Rule(START + r"layers\.", "backbone.stages."),
    Rule(START + r"(patch_embed|norm)", r"backbone.\1"),
)


def merged_patches(name: str, tensor: Tensor) -> Tensor:
    """Swin's patch merging takes its 2 x 2 patches column by column, neighbour by neighbour; mmdet's row by row, channel by
    channel."""
    if re.match(START + r"layers\.\d+\.downsample\.", name):
        patches = tensor.unflatten(-1, (2, 2, -1))  # (..., column, row, channel)
        return patches.movedim((-3, -2, -1), (-1, -2, -3)).flatten(-3)
    return tensor
