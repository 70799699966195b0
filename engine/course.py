"""The course of a run so far, and what hangs on it: a picture of it, and the end for want of a better AP."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook

from ..evidence.words import many
from . import processes
from .evaluation import CLASSES
from .files import write_bytes
from .hooks import MetricsFile, read_metrics
from .loops import EMA

__all__ = ["CURVES", "Course", "Patience", "Picture", "without_a_better_one"]

CURVES = "curves.png"  # in a run's folder


class Course(Hook):
    """The mean losses of every epoch and every evaluation; the first process knows them, those before a stop included.

    Args:
        metrics: of the run, which writes its lines before.
    """

    def __init__(self, metrics: MetricsFile) -> None:
        self.metrics = metrics
        self.epochs: list[dict[str, float]] = []
        self.evaluations: list[dict[str, Any]] = []

    def before_train(self, runner: Any) -> None:
        lines = read_metrics(self.metrics.path) if processes.is_first() and self.metrics.path.is_file() else []
        steps: dict[int, list[Mapping[str, Any]]] = {}
        for line in lines:
            if "loss" in line:
                steps.setdefault(line["epoch"], []).append(line)
        self.epochs = [_means(of_epoch) for of_epoch in steps.values()]
        self.evaluations = [line for line in lines if "AP" in line]

    def after_train_epoch(self, runner: Any) -> None:
        means = self.metrics.means()
        losses = {name: value for name, value in means.items() if name.startswith("loss")}
        self.epochs.append({"epoch": runner.epoch + 1, **losses})

    def after_val_epoch(self, runner: Any, metrics: dict[str, Any] | None = None) -> None:
        kept = {name: value for name, value in (metrics or {}).items() if name != CLASSES}
        self.evaluations.append({"epoch": runner.epoch, **kept})


class Picture(Hook):
    """Losses and AP over the epochs as CURVES in the run's folder, drawn anew after every evaluation.

    Args:
        course: of the run.
        folder: of the run.
        title: of the picture.
    """

    priority = "LOWEST"

    def __init__(self, course: Course, folder: Path, title: str) -> None:
        self.course, self.folder, self.title = course, folder, title
        self.drawn = (0, 0)

    def after_val_epoch(self, runner: Any, metrics: dict[str, Any] | None = None) -> None:
        self._draw()

    def after_train(self, runner: Any) -> None:
        self._draw()

    def _draw(self) -> None:
        known = len(self.course.epochs), len(self.course.evaluations)
        if not processes.is_first() or known == self.drawn:
            return
        from ..evidence.drawing.training import draw  # matplotlib takes its time to import

        file = io.BytesIO()
        draw(self.course.epochs, self.course.evaluations, self.title).savefig(file, format="png", dpi=100)
        write_bytes(file.getvalue(), self.folder / CURVES)
        self.drawn = known


class Patience(Hook):
    """Ends a run after so many evaluations in a row without a better AP, of the weights or of their average.

    Args:
        course: of the run; what is counted is in its metrics, so it survives a stop.
        patience: evaluations.
        say: is told that it ends.
    """

    priority = "LOWEST"

    def __init__(self, course: Course, patience: int, say: Callable[[str], None]) -> None:
        self.course, self.patience, self.say = course, patience, say
        self.ended = False

    def before_train(self, runner: Any) -> None:
        self._consider(runner)

    def after_val_epoch(self, runner: Any, metrics: dict[str, Any] | None = None) -> None:
        self._consider(runner)

    def _consider(self, runner: Any) -> None:
        scores = processes.once(lambda: [*map(_score, self.course.evaluations)])
        if self.ended or runner.epoch >= runner.max_epochs or without_a_better_one(scores) < self.patience:
            return
        self.ended = runner.train_loop.stop_training = True
        best = self.course.evaluations[scores.index(max(scores))]["epoch"] if processes.is_first() else 0
        if processes.is_first():
            told = f"no better AP than after epoch {best} in {many(self.patience, 'evaluation')}"
            sentence = f"{told}: the run ends after epoch {runner.epoch} of {runner.max_epochs}"
            runner.logger.info(sentence)
            self.say(sentence)


def without_a_better_one(scores: Sequence[float]) -> int:
    """How many scores in a row, up to the last, are not above all before them.

    >>> without_a_better_one([0.1, 0.3, 0.3, 0.2])
    2
    """
    return len(scores) - 1 - scores.index(max(scores)) if scores else 0


def _score(evaluation: Mapping[str, Any]) -> float:
    """The better AP of an evaluation; below all others where none is known."""
    found = [evaluation.get("AP"), evaluation.get(EMA, {}).get("AP")]
    return max([value for value in found if value is not None and not math.isnan(value)], default=-math.inf)


def _means(lines: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The losses of an epoch's steps, in the mean; of a loss that not every step had, over those that had it."""
    names = dict.fromkeys(name for line in lines for name in line if name.startswith("loss"))
    values = {name: [line[name] for line in lines if isinstance(line.get(name), int | float)] for name in names}
    return {"epoch": lines[0]["epoch"], **{name: sum(v) / len(v) for name, v in values.items() if v}}
