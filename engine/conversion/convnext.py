"""Names of ConvNeXt's own code, which DINO's has a copy of, in torchvision's."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from .rules import Rule

START = r"backbone\.0\."
LAYERS = {"dwconv": 0, "norm": 2, "pwconv1": 3, "pwconv2": 5}
CONVNEXT = (
    Rule(START + r"patch_embed\.[01]\.", None, "a second name of ConvNeXt's stem"),
    *(Rule(rf"{START}downsample_layers\.{stage}\.", rf"backbone.features.{2 * stage}.") for stage in range(4)),
    *(
        Rule(rf"{START}stages\.{stage}\.(\d+)\.{name}\.", rf"backbone.features.{2 * stage + 1}.\1.block.{layer}.")
        for stage in range(4)
        for name, layer in LAYERS.items()
    ),
    *(
        Rule(rf"{START}stages\.{stage}\.(\d+)\.gamma$", rf"backbone.features.{2 * stage + 1}.\1.layer_scale")
        for stage in range(4)
    ),
)


def convnext_rules(state: Mapping[str, Tensor]) -> tuple[Rule, ...]:
    """The rules for a state dict that holds a ConvNeXt; none for any other."""
    if "backbone.0.downsample_layers.0.0.weight" not in state:
        return ()
    unused = Rule(START + r"norm0\.", None, "the norm of a map that nothing reads")
    named = Rule(START + r"norm([0-3])\.", r"backbone.norms.\1.")
    return (*([] if _reads_finest_map(state) else [unused]), named, *CONVNEXT)


def scale_as_map(name: str, tensor: Tensor) -> Tensor:
    """A block's factors per channel (C,) in torchvision's form (C, 1, 1)."""
    return tensor[:, None, None] if re.match(START + r"stages\.\d\.\d+\.gamma$", name) else tensor


def _reads_finest_map(state: Mapping[str, Tensor]) -> bool:
    """Whether the projection's first level has the channels of the first stage; yes where there is no projection."""
    projection, finest = state.get("input_proj.0.0.weight"), state.get("backbone.0.norm0.weight")
    return projection is None or finest is None or projection.shape[1] == len(finest)
