"""Names of torchvision's FCOS and RetinaNet in this project's names.

RetinaNet asks nine anchors at every place, a dense head here one sample: backbone and pyramid are taken, a head begins anew.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from .rules import Rule, Translation, translate

COARSEST = 128  # pixels per cell of the last level, where images end on whole cells of every level
PATTERN = r"head\.classification_head\."
ANCHORS = "RetinaNet's head, of nine anchors at a place; here a place is one sample: train on"
SCALE = re.compile(r"backbone\.fpn\.(?:layer_blocks\.(\d+)|extra_blocks\.(p\d+))\..*weight$")
PYRAMID = (
    Rule(r"backbone\.body\.", "backbone."),
    Rule(r"backbone\.fpn\.inner_blocks\.(\d+)\.(0\.)?", r"neck.lateral_convs.\1.conv."),
    Rule(r"backbone\.fpn\.layer_blocks\.(\d+)\.(0\.)?", r"neck.fpn_convs.\1.conv."),
)
HEAD = (
    Rule(r"head\.classification_head\.cls_logits\.", "bbox_head.conv_cls."),
    Rule(r"head\.regression_head\.bbox_reg\.", "bbox_head.conv_reg."),
    Rule(r"head\.regression_head\.bbox_ctrness\.", "bbox_head.conv_centerness."),
    *(
        Rule(rf"head\.{theirs}_head\.conv\.{3 * layer + part}\.", f"bbox_head.{ours}_convs.{layer}.{name}.")
        for theirs, ours in (("classification", "cls"), ("regression", "reg"))
        for layer in range(8)
        for part, name in enumerate(("conv", "gn"))
    ),
)


def from_torchvision(state: Mapping[str, Tensor]) -> Translation:
    """A checkpoint of torchvision's FCOS, or the backbone and pyramid of its RetinaNet, in this project's names."""
    if not _is_fcos(state):
        rules = (*PYRAMID, *_extra_rules(state), Rule(r"head\.", None, ANCHORS))
        return replace(translate(state, (rules,)), anew=r"bbox_head\.")
    translation = translate(state, ((*PYRAMID, *_extra_rules(state), *HEAD),))
    scales = {f"bbox_head.scales.{level}.scale": torch.tensor(1.0) for level in range(_level_count(state))}
    given = dict.fromkeys(scales, "1: torchvision's levels have no scale of their own")
    return replace(translation, state=translation.state | scales, given=given)


def settings_of(state: Mapping[str, Tensor], description: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Config keys with which this project's FCOS computes what torchvision's does.

    Points are the cells' upper left corners. torchvision spreads the points of a level over the image however many cells
    fit; padding images to whole cells of the coarsest level makes that this project's grid.
    """
    settings: dict[str, Any] = {"model.preprocessor.pad_size_divisor": COARSEST}
    if _extra_input(state) is not None:
        settings["model.neck.add_extra_convs"] = _extra_input(state)
    if not _is_fcos(state):
        return settings
    head = {"distances": "relu", "branch_on": "reg", "conv_bias": True, "point_offset": 0.0}
    return settings | {f"model.head.{key}": value for key, value in head.items()}


def _is_fcos(state: Mapping[str, Tensor]) -> bool:
    return any(name.startswith("head.regression_head.bbox_ctrness.") for name in state)


def _level_count(state: Mapping[str, Tensor]) -> int:
    return sum(SCALE.match(name) is not None for name in state)


def _extra_rules(state: Mapping[str, Tensor]) -> tuple[Rule, ...]:
    """Levels that are made of others are called by their number, p6 and p7; here they go on after the backbone's."""
    found = [match for name in state if (match := SCALE.match(name))]
    own, extra = (sorted({match[group] for match in found} - {None}) for group in (1, 2))
    return tuple(
        Rule(rf"backbone\.fpn\.extra_blocks\.{name}\.", f"neck.fpn_convs.{level}.conv.")
        for level, name in enumerate(extra, len(own))
    )


def _extra_input(state: Mapping[str, Tensor]) -> str | None:
    """What the first extra level is made of: the pyramid's coarsest map, or the backbone's; None without such a level."""
    extra, width = (state.get(f"backbone.fpn.{name}") for name in ("extra_blocks.p6.weight", "extra_blocks.p7.weight"))
    if extra is None or width is None:
        return None
    return "on_output" if extra.shape[1] == width.shape[1] else "on_input"
