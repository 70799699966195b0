"""What the plain values of a config may be, said before anything is built of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

__all__ = ["check_values"]


class Rule(NamedTuple):
    """What a value has to be: in words, and whether it is."""

    words: str
    holds: Callable[[Any], bool]

    def or_none(self) -> Rule:
        return Rule(f"{self.words} or None", lambda value: value is None or self.holds(value))


def check_values(config: Mapping[str, Any], name: str) -> None:
    """Raise ValueError for the first plain value of a config that is missing or not what it has to be.

    >>> check_values({"name": "mine", "input": {"scale": 640}}, "mine.json")
    Traceback (most recent call last):
    ValueError: config mine.json: input.scale is 640; expected two whole numbers above 0, width and height in pixels
    """
    for key, rule in RULES.items():
        value = _value(config, key)
        if value is MISSING and key not in OPTIONAL:
            raise ValueError(f"config {name}: {key} is missing; expected {rule.words}")
        if value is not MISSING and not rule.holds(value):
            raise ValueError(f"config {name}: {key} is {value!r}; expected {rule.words}")
    decay = config["schedule"]["decay"]
    for key, rule in DECAYS.get(decay["type"], {}).items():
        if not rule.holds(decay.get(key)):
            raise ValueError(f"config {name}: schedule.decay.{key} is {decay.get(key)!r}; expected {rule.words}")


MISSING = object()


def _value(config: Mapping[str, Any], key: str) -> Any:
    place: Any = config
    for part in key.split("."):
        if not isinstance(place, Mapping) or part not in place:
            return MISSING
        place = place[part]
    return place


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: Any) -> bool:
    return _whole(value) or (isinstance(value, float) and math.isfinite(value))


def _size(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(_whole(side) and side > 0 for side in value)


def _each(holds: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list | tuple) and all(map(holds, value))


COUNT = Rule("a whole number of at least 1", lambda value: _whole(value) and value >= 1)
NATURAL = Rule("a whole number of at least 0", lambda value: _whole(value) and value >= 0)
SHARE = Rule("a number of at least 0", lambda value: _number(value) and value >= 0)
POSITIVE = Rule("a number above 0", lambda value: _number(value) and value > 0)
DECAY = Rule("a number between 0 and 1", lambda value: _number(value) and 0 < value < 1)
PROBABILITY = Rule("a number from 0 to 1", lambda value: _number(value) and 0 <= value <= 1)
SWITCH = Rule("True or False", lambda value: isinstance(value, bool))
TEXT = Rule("text", lambda value: isinstance(value, str))
PAIR = Rule("two whole numbers above 0, width and height in pixels", _size)
PAIRS = Rule("a list of such pairs as input.scale", lambda value: _each(_size)(value) and len(value) > 0)
FLIPS = Rule(
    "a list of horizontal, vertical and diagonal", _each(lambda value: value in ("horizontal", "vertical", "diagonal"))
)
NAMES = Rule("a list of names", _each(lambda value: isinstance(value, str)))
EPOCHS = Rule("a list of numbers, epochs", _each(_number))
SLOW = Rule(
    "a dict with names, a list of text, and lr_mult, a number",
    lambda value: (
        isinstance(value, Mapping)
        and _each(TEXT.holds)(value.get("names"))
        and SHARE.holds(value.get("lr_mult"))
        and len(value) == 2
    ),
)

DTYPES = ("float32", "bfloat16", "float16")
PRECISIONS = (*DTYPES, "amp", "auto")  # the last two come to one of the others, on a machine
PRECISION = Rule(f"one of {', '.join(PRECISIONS)}", lambda value: value in PRECISIONS)

SHARES = ("color", "zoom", "mosaic", "mixup", "plain_from", "repeat_rare")  # of a config's input
RULES = {
    "name": TEXT,
    "input.scale": PAIR,
    "input.keep_ratio": SWITCH,
    "input.multi_scale": PAIRS.or_none(),
    "input.augmentation": TEXT.or_none(),
    **{f"input.{name}": PROBABILITY.or_none() for name in SHARES},
    "input.flip": FLIPS,
    "input.workers": NATURAL.or_none(),
    "schedule.epochs": COUNT,
    "schedule.steps": COUNT.or_none(),
    "schedule.accumulate": COUNT.or_none(),
    "schedule.ema": DECAY.or_none(),
    "schedule.batch_size": COUNT,
    "schedule.base_batch_size": COUNT,
    "schedule.optimizer.type": TEXT,
    "schedule.optimizer.lr": SHARE,
    "schedule.bias.lr_mult": SHARE,
    "schedule.bias.decay_mult": SHARE,
    "schedule.norm_decay_mult": SHARE,
    "schedule.backbone_lr_mult": SHARE,
    "schedule.slow": SLOW.or_none(),
    "schedule.warmup.iterations": NATURAL,
    "schedule.warmup.start": SHARE,
    "schedule.decay.type": TEXT,
    "schedule.clip": POSITIVE.or_none(),
    "evaluation.every": COUNT,
    "evaluation.max_detections": COUNT,
    "evaluation.batch_size": COUNT.or_none(),
    "evaluation.patience": COUNT.or_none(),
    "log": NAMES.or_none(),
    "telemetry.on": SWITCH,
    "telemetry.every": COUNT,
    "telemetry.images": COUNT,
    "telemetry.patience": COUNT,
    "seed": NATURAL,
    "device": TEXT,
    "precision": PRECISION,
    "pretrained": TEXT.or_none(),
    "init": TEXT.or_none(),
}
"""Dotted key -> what it has to be."""
OPTIONAL = {
    *(f"input.{name}" for name in SHARES),
    "input.augmentation",
    "input.workers",
    "schedule.steps",
    "schedule.accumulate",
    "schedule.ema",
    "schedule.slow",
    "evaluation.batch_size",
    "evaluation.patience",
    "log",
    "pretrained",
    "init",
}
DECAYS = {"step": {"epochs": EPOCHS, "gamma": SHARE}, "cosine": {"end": SHARE}}
"""Kind of decay -> what its own keys have to be."""
