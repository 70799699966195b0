"""Watching a detector's assignments in training, without touching the steps that nobody watches."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch
from mmdet.structures import DetDataSample
from torch import Tensor

from ..assigners import Assignment, Predictions, Targets
from ..assigners.boxes import area
from ..ops.transfer import to_device
from .targets import scale_of

Asked = Callable[[], tuple[Predictions, Targets]]
"""Gives what an assigner was asked: the predictions, and the targets, repeated for every group of them."""


@dataclass(frozen=True)
class Observation:
    """One assignment of a training step.

    Attributes:
        assignment: what the detector's assigner answered.
        asked: what it was asked.
        samples: of the batch, B images, on the host.
        seconds: that the assignment and the loss took.
    """

    assignment: Assignment
    asked: Asked
    samples: Sequence[DetDataSample]
    seconds: float = 0.0

    def stored_areas(self, targets: Targets) -> Tensor:
        """(G * B, M) areas of the targets' boxes in pixels of the images as they are stored; G groups of predictions.

        Where an augmentation resizes an image more than once, the last time counts.
        """
        factors = [width * height for width, height in map(scale_of, self.samples)]
        enlarged = to_device(torch.tensor(factors), targets.boxes.device, targets.boxes.dtype)
        return area(targets.boxes) / enlarged.repeat(len(targets.boxes) // len(enlarged))[:, None]


class Observer(Protocol):
    """Something that watches a detector's assignments in training."""

    def due(self) -> bool:
        """Whether to watch the coming step."""

    def __call__(self, observation: Observation) -> None:
        """Look at one assignment."""


@contextmanager
def observed(
    observer: Observer | None, like: Tensor, samples: Sequence[DetDataSample]
) -> Iterator[Callable[[Assignment, Asked], None]]:
    """Times what happens inside if the observer is due; the body hands over what it assigned, and how to get what was asked.

    Args:
        observer: or None.
        like: a tensor of the device that computes.
        samples: of the batch.
    """
    if observer is None or not observer.due():
        yield lambda assignment, asked: None
        return
    started = _now(like)
    yield lambda assignment, asked: observer(Observation(assignment, asked, samples, _now(like) - started))


def _now(like: Tensor) -> float:
    """Seconds on a clock that has waited for the device."""
    if like.is_cuda:
        torch.cuda.synchronize(like.device)
    return time.perf_counter()
