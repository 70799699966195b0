"""What telemetry costs a training: a look at a step, and an image of the probe, beside the step itself.

A look is everything that telemetry adds to a step that it looks at, beyond what the clock of every run does; it is measured on
the observation of a real step. An image of the probe is its forward pass, its assignment and its way to the host, of an image
of the batch's size. All take turns with whole training steps, so that they meet the same machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch

from ..detectors.observer import Observation
from ..engine.config import TELEMETRY, compose
from ..engine.hooks import AssignmentStatistics
from ..engine.runner import calm
from ..engine.telemetry import look_of
from ..evidence.telemetry.learnt import learnt
from .step.conditions import Conditions, make_batch, simulated_source
from .step.contender import Contender, ours
from .step.measures import take_turns

__all__ = ["CostRow", "measure"]


@dataclass(frozen=True)
class CostRow:
    """A detector under an assigner; seconds are medians of the CPU's time on a CPU, by the clock elsewhere.

    Attributes:
        detector, assigner: names; the detector's own assigner is "".
        pairs: of w⁺ > 0 and others, of the batch, all decoder layers together.
        step: seconds of a training step that is not looked at.
        look: that telemetry adds to one that is.
        image: of one image of the probe.
    """

    detector: str
    assigner: str
    pairs: int
    step: float
    look: float
    image: float

    def to_dict(self) -> dict[str, Any]:
        """With the look as a share of its step, and of all steps, as a run has it that says nothing else."""
        share = self.look / self.step
        return {**asdict(self), "share": share, "share_of_run": share / TELEMETRY["every"]}


def measure(names: Sequence[str], conditions: Conditions) -> Iterator[CostRow]:
    """A row of each, given as DETECTOR or DETECTOR:ASSIGNER, as soon as it is there."""
    for name in names:
        detector, _, assigner = name.partition(":")
        side, batch = contender(detector, assigner, conditions), make_batch(conditions)
        observation = observe(side, batch)
        statistics = AssignmentStatistics(look=look_of(side.model))
        runs = {
            "step": partial(_step, side, batch),
            "look": partial(_look, statistics, observation, conditions),
            "image": partial(_image, side, batch),
        }
        times = take_turns(runs, conditions.steps)
        clock = 1 if torch.device(conditions.device).type == "cpu" else 0
        seconds = {run: found[clock] for run, found in times.items()}
        yield CostRow(detector, assigner, len(observation.assignment.positive), **seconds)


def contender(detector: str, assigner: str, conditions: Conditions) -> Contender:
    """The detector under the assigner, ready to train."""
    torch.manual_seed(0)
    with calm():
        return ours(compose(detector, assigner or None, simulated_source())["model"], conditions)


def observe(side: Contender, batch: Mapping[str, Any]) -> Observation:
    """What a training step shows."""
    keeper = _Keeper()
    side.model.observer = keeper
    side.step(deepcopy(batch))
    side.model.observer = None
    return keeper.kept


class _Keeper:
    """Keeps the last observation."""

    kept: Observation

    def due(self) -> bool:
        return True

    def __call__(self, observation: Observation) -> None:
        self.kept = observation


def _step(side: Contender, batch: Mapping[str, Any]) -> None:
    side.step(deepcopy(batch))


def _look(statistics: AssignmentStatistics, observation: Observation, conditions: Conditions) -> None:
    statistics(observation)
    if torch.device(conditions.device).type == "cuda":
        torch.cuda.synchronize(conditions.device)


def _image(side: Contender, batch: Mapping[str, Any]) -> None:
    first = {name: values[:1] for name, values in deepcopy(dict(batch)).items()}
    side.model.eval()
    prepared = side.model.data_preprocessor(first, False)
    observation = side.model.assigned(prepared["inputs"], prepared["data_samples"])
    learnt(observation.assignment, *observation.asked(), side.model.bbox_head.assigner.pair_scores)
    side.model.train()
