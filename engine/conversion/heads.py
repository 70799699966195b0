"""Class and box layers, which most projects store once per decoder layer, shared or not."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from .rules import Rule


def head_rules(state: Mapping[str, Tensor], classes: str, boxes: str) -> tuple[Rule, ...]:
    """Rules for the layers called `classes` and `boxes`: one head for all decoder layers, or one each.

    A number after the name counts decoder layers; the one past the last layer belongs to the encoder's proposals.
    Heads that are equal in every layer are one.
    """
    layers = layer_count(state)
    parts = ((re.escape(classes), "classes", "encoder_class"), (re.escape(boxes), "boxes", "encoder_box"))
    numbers = {int(m[1]) for name in state if (m := re.match(rf"{parts[0][0]}\.(\d+)\.", name))}
    if not numbers:
        return tuple(Rule(rf"{theirs}\.", f"bbox_head.{ours}.0.") for theirs, ours, _ in parts)
    rules = [Rule(rf"{theirs}\.{layers}\.", f"bbox_head.{encoder}.") for theirs, _, encoder in parts]
    if _all_equal(state, numbers - {layers}, (classes, boxes)):
        rules += [Rule(rf"{theirs}\.0\.", f"bbox_head.{ours}.0.") for theirs, ours, _ in parts]
        rules += [Rule(rf"{theirs}\.\d+\.", None, "the same head again") for theirs, _, _ in parts]
    else:
        rules += [Rule(rf"{theirs}\.(\d+)\.", rf"bbox_head.{ours}.\1.") for theirs, ours, _ in parts]
    return tuple(rules)


def layer_count(state: Mapping[str, Tensor]) -> int:
    """Layers of the decoder."""
    return 1 + max((int(m[1]) for name in state if (m := re.search(r"decoder\.layers\.(\d+)\.", name))), default=-1)


def _all_equal(state: Mapping[str, Tensor], numbers: set[int], names: tuple[str, ...]) -> bool:
    heads = [_tensors(state, number, names) for number in sorted(numbers)]
    same = [all(tensor.equal(heads[0][key]) for key, tensor in head.items()) for head in heads[1:]]
    return bool(same) and all(same)


def _tensors(state: Mapping[str, Tensor], number: int, names: tuple[str, ...]) -> dict[str, Tensor]:
    places = {f"{name}.{number}.": name for name in names}
    return {
        name + key.removeprefix(prefix): tensor
        for prefix, name in places.items()
        for key, tensor in state.items()
        if key.startswith(prefix)
    }
