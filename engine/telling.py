"""What a run says of itself: a first line of what it will do, and its log, epoch by epoch."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mmengine.hooks import Hook
from torch import nn

from ..evidence.words import duration, many
from . import processes
from .evaluation import CLASSES
from .loops import EMA
from .optimization import parts_of
from .precision import Precision
from .sampling import steps_in_all

ENOUGH_SECONDS, ENOUGH_STEPS = 1.0, 20  # of training, to tell how long the rest takes


def resolved_assigners(model: nn.Module) -> str:
    """A detector's assigner as it was built, every part with its constants, and below it those of other outputs, and extras."""
    head = model.bbox_head
    others = {**(getattr(head, "assigners", None) or {}), **(getattr(model, "extra", None) or {})}
    return "\n".join([str(head.assigner), *(f"{output}: {part}" for output, part in others.items())])


class Announcement(Hook):
    """Says once what the run is and how long it will be, as soon as a few steps have shown how long they take.

    Args:
        config: resolved.
        precision: of the run.
        say: is told the sentence.
        more: sentences behind it.
    """

    priority = "LOWEST"

    def __init__(
        self, config: Mapping[str, Any], precision: Precision, say: Callable[[str], None], more: Sequence[str] = ()
    ) -> None:
        self.config, self.precision, self.say, self.more = config, precision, say, more
        self.total = self.done = 0  # steps of this start of the run
        self.since = (
            0.0  # the end of the first step, whose time is not typical, or the beginning where it is the only one
        )
        self.said = False

    def before_train(self, runner: Any) -> None:
        loader = runner.train_dataloader
        self.total = max(steps_in_all(loader, runner.max_epochs) - runner.epoch * len(loader), 0)
        if not self.total:
            self._tell(runner, None)

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        if not self.done:
            self.since = time.perf_counter()

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        if self.said:
            return
        self.done += 1
        now, steps = time.perf_counter(), max(self.done - 1, 1)
        enough = self.done > 1 and (now - self.since >= ENOUGH_SECONDS or self.done > ENOUGH_STEPS)
        if enough or self.done == self.total:
            self._tell(runner, self.total * (now - self.since) / steps)
        elif self.done == 1:
            self.since = now

    def _tell(self, runner: Any, seconds: float | None) -> None:
        self.said = True
        if processes.is_first():
            sentence = describe(self.config, self.precision, runner, self.total, seconds)
            for text in filter(None, (sentence, *self.more)):
                runner.logger.info(text)
                self.say(text)


class EpochLog(Hook):
    """Losses, learning rate and AP of every epoch in the run's log.

    Args:
        means: the means over the epoch of what its steps had, by name.
    """

    priority = "LOW"

    def __init__(self, means: Callable[[], Mapping[str, float]]) -> None:
        self.means = means

    def after_train_epoch(self, runner: Any) -> None:
        means = self.means()
        losses = [f"{name} {value:.4g}" for name, value in means.items() if name.startswith("loss")]
        pace = [f"lr {means['lr']:.3g}", f"{means['seconds']:.3g} s a step"] if "lr" in means else []
        runner.logger.info(f"epoch {runner.epoch + 1}/{runner.max_epochs}: {', '.join([*losses, *pace])}")

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        place, measured = f"epoch {runner.epoch}/{runner.max_epochs}", metrics or {}
        runner.logger.info(f"{place}: {', '.join(_percents(measured))}")
        if EMA in measured:
            runner.logger.info(f"{place}, averaged weights: {', '.join(_percents(measured[EMA]))}")


def pace(config: Mapping[str, Any]) -> list[str]:
    """What follows of a batch that is not the recipe's, and of one that is taken in parts, in sentences."""
    schedule, parts, count = config["schedule"], parts_of(config), processes.count()
    batch, usual, rate = schedule["batch_size"], schedule["base_batch_size"], schedule["optimizer"]["lr"]
    told = []
    if batch != usual:
        told.append(
            f"the schedule's learning rate, {rate:.3g}, is for batches of {many(usual, 'image')}; these have {batch}, so it is "
            f"{rate * batch / usual:.3g}"
        )
    own = batch // count // parts
    if batch < usual and not usual % (count * own):
        wanted = usual // (count * own)
        told[-1] += (
            f"; --batch-size {usual} --accumulate {wanted} learns as published, {own} at a time, with fewer steps"
        )
    if parts > 1:
        told.append(
            f"every batch of {batch} goes through the model in {parts} parts of {own}: each has normalisers and statistics of "
            "norms of its own"
        )
    return told


def _percents(metrics: Mapping[str, Any]) -> list[str]:
    scores = {name: value for name, value in metrics.items() if name not in (CLASSES, EMA)}
    return [f"{name} {'-' if value != value else f'{100 * value:.1f}'}" for name, value in scores.items()]


def describe(config: Mapping[str, Any], precision: Precision, runner: Any, steps: int, seconds: float | None) -> str:
    """One sentence: detector and assigner, data, epochs, steps, how long; a precision that is not usual, or has a reason."""
    data, schedule, all_epochs = config["data"]["name"], config["schedule"], runner.max_epochs
    train, val = len(runner.train_dataloader.dataset), len(runner.val_dataloader.dataset)
    what = f"{config['name'].removesuffix('-' + data)} on {data} ({train} images to learn from, {val} to measure on)"
    if not steps:
        done = f"all {all_epochs} epochs are" if all_epochs > 1 else "its only epoch is"
        return f"{what}: {done} done, nothing is left to learn"
    left = -(-steps // len(runner.train_dataloader))
    epochs = many(all_epochs, "epoch") if left == all_epochs else f"{left} of {all_epochs} epochs left"
    device = next(runner.model.parameters()).device
    numbers = "" if str(precision) == "float32" else f" in {precision}"
    pace = f"{many(steps, 'step')} of {many(schedule['batch_size'], 'image')} on {device}{numbers}"
    return f"{what}: {epochs}, {pace}, about {duration(seconds)} and the evaluations"
