"""A step of everything before anything is trained: what cannot work shows before the others have run for hours."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import torch

from ...engine.reasons import reason
from ...engine.train import rehearse, step_seconds
from .plan import Row


def try_all(configs: Mapping[Row, Mapping[str, Any]], advance: Callable[[], None] = lambda: None) -> None:
    """Build every row's detector and take it through one step.

    Args:
        configs: resolved, of rows with cells to run.
        advance: called after each.

    Raises:
        ValueError: naming each that cannot work, and why.
    """
    failures = []
    for row, config in configs.items():
        try:
            rehearse(config)
        except Exception as error:  # whatever it is, it would end the run
            if os.environ.get("DETASSIGN_TRACEBACK"):
                raise
            failures.append(f"{row.told([*configs])} ({reason(error)})")
        _release()
        advance()
    if failures:
        raise ValueError(
            f"{len(failures)} of {len(configs)} assigners cannot train, so nothing was: {'; '.join(failures)}"
        )


def measure_all(
    configs: Mapping[Row, Mapping[str, Any]], advance: Callable[[], None] = lambda: None
) -> dict[Row, float]:
    """Seconds that a step of every row's training takes on this machine, alone."""
    seconds = {}
    for row, config in configs.items():
        seconds[row] = step_seconds(config)
        _release()
        advance()
    return seconds


def _release() -> None:
    """What is held of a GPU here would be missing in the runs' own processes."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
