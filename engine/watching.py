"""What looks at a run from its first step to its last: metrics, assignments, a bar, and whatever follows from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.hooks import Hook, SyncBuffersHook
from torch import nn

from . import processes
from .averaging import WeightAverage
from .course import Course, Patience, Picture
from .hooks import AssignmentStatistics, EpochSeed, MetricsFile, ProgressBar, TrainingProgress
from .keeping import CheckpointKeeper
from .optimization import parts_of
from .precision import Precision
from .summary import METRICS
from .telemetry import Telemetry, look_of
from .telling import Announcement, EpochLog, pace, resolved_assigners
from .trackers import Trackers

__all__ = ["Watch", "watch"]


class Watch(NamedTuple):
    """Of one run.

    Attributes:
        metrics: its lines.
        observed: its assignments.
        bar: on the terminal.
        telemetry: who learns what; empty without.
        precision: that it is trained in.
        quiet: nothing is said of it.
    """

    metrics: MetricsFile
    observed: AssignmentStatistics
    bar: ProgressBar
    telemetry: tuple[Telemetry, ...]
    precision: Precision
    quiet: bool

    def hooks(
        self,
        config: Mapping[str, Any],
        model: nn.Module,
        folder: Path,
        keeper: CheckpointKeeper,
        average: WeightAverage | None,
        more: Sequence[Hook] = (),
    ) -> list[Hook]:
        """Of the runner, in the order in which they are asked, `more` after those that look; trackers are told from here on."""
        processes.once(partial(self._tell_trackers, config, folder))
        said = () if self.quiet else (*pace(config), resolved_assigners(model))
        told = [EpochLog(self.metrics.means), Announcement(config, self.precision, self.bar.say, said)]
        looking = [self.metrics, self.observed, *self.telemetry, *more]
        state = [EpochSeed(config["seed"]), TrainingProgress(), SyncBuffersHook(), *([average] if average else [])]
        return [*looking, *state, self.bar, keeper, *told, *self._course(config, folder)]

    def _course(self, config: Mapping[str, Any], folder: Path) -> list[Hook]:
        """What goes by the course of the run so far."""
        course, patience = Course(self.metrics), config["evaluation"].get("patience")
        ends = [Patience(course, patience, self.bar.say)] if patience else []
        return [course, Picture(course, folder, config["name"]), *ends]

    def _tell_trackers(self, config: Mapping[str, Any], folder: Path) -> None:
        self.metrics.trackers = Trackers(config.get("log") or (), folder, config)

    def stop(self) -> None:
        """Leave terminal and trackers in order, whatever ended the run."""
        self.bar.stop()
        for note in self.metrics.trackers.close():
            self.bar.say(note)


def watch(config: Mapping[str, Any], precision: Precision, model: nn.Module, folder: Path, quiet: bool) -> Watch:
    """What looks at a run of this config, in this precision, in this folder, which need not exist yet."""
    settings = config["telemetry"]
    look = look_of(model) if settings["on"] else None
    observed = AssignmentStatistics(settings["every"], look, parts_of(config))
    metrics = MetricsFile(folder / METRICS)
    bar = ProgressBar(config["name"], metrics, quiet or not processes.is_first())
    telemetry = (Telemetry(config, model, observed, metrics, folder, bar.say),) if settings["on"] else ()
    return Watch(metrics, observed, bar, telemetry, precision, quiet)
