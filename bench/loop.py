"""Where the time of a training goes, from its first line to its last checkpoint.

Two hooks, the first and the last of all, stop one clock at everything that mmengine's loop calls hooks for, two more
before and behind the one that writes checkpoints. Each piece of time belongs to one part, so the parts add up to the whole.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner.priority import get_priority

from ..engine.device import device_of
from ..engine.keeping import CheckpointKeeper
from ..engine.train import train

__all__ = ["PARTS", "measure"]

START, READ, STEP, HOOKS = "start", "read", "step", "hooks"
READ_TO_MEASURE, DETECT, PRECISION = "read to measure", "detect", "average precision"
CHECKPOINTS, ENDS = "checkpoints", "ends of epochs"
PARTS = {
    START: "annotations, model, optimizer",
    READ: "decode, resize and collate pictures to learn from",
    STEP: "forward, assignment, loss, backward, optimizer",
    HOOKS: "whatever watches steps",
    READ_TO_MEASURE: "decode, resize and collate pictures to measure on",
    DETECT: "forward and post-processing",
    PRECISION: "average precision",
    CHECKPOINTS: "files of the last epochs and of the best one",
    ENDS: "curves, summary",
}
FIRST = {
    "before_train": START,
    "before_train_epoch": ENDS,
    "before_train_iter": READ,
    "after_train_iter": STEP,
    "after_train_epoch": READ,
    "before_val": ENDS,
    "before_val_iter": READ_TO_MEASURE,
    "after_val_iter": DETECT,
    "after_measuring": PRECISION,
}
LAST = {
    "before_train": ENDS,
    "before_train_epoch": ENDS,
    "before_train_iter": HOOKS,
    "after_train_iter": HOOKS,
    "after_train_epoch": ENDS,
    "before_val_epoch": ENDS,
    "before_val_iter": HOOKS,
    "after_val_iter": HOOKS,
    "after_val_epoch": ENDS,
}
BEFORE_KEEPING = {"after_train_epoch": ENDS, "after_val_epoch": ENDS}
BEHIND_KEEPING = {"after_train_epoch": CHECKPOINTS, "after_val_epoch": CHECKPOINTS}


def measure(config: Mapping[str, Any], quiet: bool = False) -> dict[str, float]:
    """Seconds of each of PARTS in a whole training, of which nothing stays.

    Args:
        config: resolved; its trackers, which keep what they are told, are not told of this run.
        quiet: no progress bar.

    Raises:
        ValueError, OSError: whatever a training refuses.
    """
    seconds: Counter[str] = Counter()
    mark = _clock(seconds, device_of(config))
    with tempfile.TemporaryDirectory(prefix="detassign-loop-") as folder:
        train(
            {**config, "log": None},
            Path(folder) / "run",
            quiet=quiet,
            watching=_edges(mark),
        )
        mark(ENDS)
    return {part: seconds[part] for part in PARTS}


def _clock(seconds: Counter[str], device: torch.device) -> Callable[[str], None]:
    """A function that adds the time since it was last called to a part."""
    last = time.perf_counter()

    def mark(part: str) -> None:
        nonlocal last
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        now = time.perf_counter()
        seconds[part] += now - last
        last = now

    return mark


def _edges(mark: Callable[[str], None]) -> list[Hook]:
    """The hooks that end parts."""
    keeping = get_priority(CheckpointKeeper.priority)
    every = {"HIGHEST": FIRST, keeping - 1: BEFORE_KEEPING, keeping + 1: BEHIND_KEEPING, "LOWEST": LAST}
    return [_edge(priority, stages, mark) for priority, stages in every.items()]


def _edge(priority: str | int, stages: Mapping[str, str], mark: Callable[[str], None]) -> Hook:
    """A hook that calls `mark` at stages of a loop, with the part that ends there."""

    def method(part: str) -> Callable[..., None]:
        return lambda *_, **__: mark(part)

    methods = {stage: method(part) for stage, part in stages.items()}
    return type("Edge", (Hook,), {"priority": priority, **methods})()
