"""Clocks: seconds that a call takes on a device."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from . import gpu

__all__ = ["Clock", "clock_of", "host_seconds"]

Clock = Callable[[Callable[[], Any]], float]


def clock_of(device: str) -> Clock:
    """The clock of "cpu" or "cuda"."""
    return {"cpu": host_seconds, "cuda": gpu.seconds}[device]


def host_seconds(run: Callable[[], Any]) -> float:
    """Seconds that `run` takes on the host."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started
