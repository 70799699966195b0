"""Watching a detector's assignments in training, without touching the steps that nobody watches."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor

from ..assigners import Assignment, Targets


class Observer(Protocol):
    """Something that watches a detector's assignments in training."""

    def due(self) -> bool:
        """Whether to watch the coming step."""

    def __call__(self, assignment: Assignment, targets: Targets, seconds: float) -> None:
        """Look at one assignment and the seconds that it and the loss took."""


@contextmanager
def observed(observer: Observer | None, like: Tensor) -> Iterator[Callable[[Assignment, Targets], None]]:
    """Times what happens inside if the observer is due; the body hands over what it assigned.

    Args:
        observer: or None.
        like: a tensor of the device that computes.
    """
    if observer is None or not observer.due():
        yield lambda assignment, targets: None
        return
    started = _now(like)
    yield lambda assignment, targets: observer(assignment, targets, _now(like) - started)


def _now(like: Tensor) -> float:
    """Seconds on a clock that has waited for the device."""
    if like.is_cuda:
        torch.cuda.synchronize(like.device)
    return time.perf_counter()
