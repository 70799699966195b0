"""How long every run of a grid is: epochs, steps or minutes, and a schedule that fits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ...data.reader import load_split
from ...engine.config import source_of
from ...engine.sampling import epoch_images, epoch_steps


@dataclass(frozen=True)
class Budget:
    """How long every run is; nothing named leaves it to the schedule.

    Attributes:
        epochs, steps: of every run, one of them at most.
        minutes: of training of the slowest row; `steps` are what they come to, once that was measured.
    """

    epochs: int | None = None
    steps: int | None = None
    minutes: float | None = None

    @classmethod
    def of(cls, epochs: int | None, steps: int | None, minutes: float | None) -> Budget:
        """What a user names.

        Raises:
            ValueError: for several of them.
        """
        budget = cls(epochs, steps, minutes)
        given = [f"--{name}" for name, value in vars(budget).items() if value is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)}: name one of them")
        return budget

    @property
    def is_open(self) -> bool:
        """Whether it is minutes that have not been measured."""
        return self.minutes is not None and self.steps is None

    def as_recorded(self, grids: Iterable[Mapping[str, Any]]) -> Budget:
        """The same with the steps that so many minutes came to where they were measured before.

        Args:
            grids: what folders say of themselves.
        """
        known = [grid.get("budget", {}) for grid in grids]
        found = [one.get("steps") for one in known if self.is_open and one.get("minutes") == self.minutes]
        sound = [steps for steps in found if isinstance(steps, int) and steps > 0]
        return replace(self, steps=sound[0]) if sound else self

    def fitted(self, config: Mapping[str, Any], keep_decay: bool = False) -> dict[str, Any]:
        """A config of this length, whose last epoch may be cut short.

        A decay by steps of the learning rate keeps its place in the training: at two thirds of 12 epochs, it is at two
        thirds of any other number. All other schedules follow the length by themselves.

        Args:
            config: resolved.
            keep_decay: leave the decay where it is.
        """
        if self.epochs is None and self.steps is None:
            return dict(config)
        schedule, per_epoch = dict(config["schedule"]), steps_per_epoch(config)
        length = self.epochs if self.epochs is not None else self.steps / per_epoch
        cut = None if float(length).is_integer() else self.steps
        decay = schedule["decay"]
        if decay["type"] == "step" and not keep_decay:
            places = [round(epoch * length / schedule["epochs"], 4) for epoch in decay["epochs"]]
            decay = {**decay, "epochs": [int(place) if place.is_integer() else place for place in places]}
        return {**config, "schedule": {**schedule, "epochs": math.ceil(length), "steps": cut, "decay": decay}}


def steps_per_epoch(config: Mapping[str, Any]) -> int:
    """Steps that an epoch of a resolved config has, on one device."""
    images = epoch_images(load_split(source_of(config), "train"), config["input"])
    return epoch_steps(images, config["schedule"]["batch_size"])


def steps_of(config: Mapping[str, Any]) -> int:
    """Steps of a whole run."""
    schedule = config["schedule"]
    steps = schedule["epochs"] * steps_per_epoch(config)
    return min(steps, schedule.get("steps") or steps)


def steps_in(minutes: float, seconds_per_step: Mapping[Any, float]) -> tuple[int, Any]:
    """How many steps the slowest has time for, at least one, and which that is.

    >>> steps_in(2, {"atss": 0.5, "dw": 0.6})
    (200, 'dw')
    """
    slowest = max(seconds_per_step, key=seconds_per_step.__getitem__)
    return max(int(60 * minutes / seconds_per_step[slowest]), 1), slowest
