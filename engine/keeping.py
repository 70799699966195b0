"""Writing the checkpoints of a run: those of its last epochs, and the best ones."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook

from ..compat import safe_load
from . import processes
from .averaging import AVERAGED
from .checkpoints import BEST, BEST_EMA, epoch_file, set_aside
from .files import write_whole
from .loops import EMA
from .notes import note

__all__ = ["CheckpointKeeper"]


class Best:
    """A file that holds the weights of the epoch with the highest AP so far.

    Args:
        place: of the file.
        make: writes it from the checkpoint of that epoch: from, to.
        kept: epoch of the file that is there, None where there is none.
    """

    def __init__(self, place: Path, make: Callable[[Path, Path], None], kept: int | None = None) -> None:
        self.place, self.make, self.kept = place, make, kept
        self.known: dict[str, Any] | None = None  # epoch and AP

    def consider(self, epoch: int, score: float | None) -> None:
        """Take an epoch if it is better than all before."""
        if score is None or math.isnan(score) or (self.known and score <= self.known["AP"]):
            return
        self.known = {"epoch": epoch, "AP": score}
        source = epoch_file(self.place.parent, epoch)
        if processes.is_first() and source.exists():
            write_whole(partial(self.make, source), self.place)

    def still_there(self, epoch: int) -> dict[str, Any] | None:
        """The best so far of a run that goes on after an epoch, if its file is there; this epoch is considered anew."""
        known = self.known and self.known["epoch"]
        if self.kept == epoch:
            return None
        if self.kept != known and self.place.exists():
            note(f"{self.place} is none that this run has kept; it is now called {set_aside(self.place).name}")
        if self.known is None or self.kept == known:
            return self.known
        source = epoch_file(self.place.parent, known)
        if not source.exists():
            note(f"the best checkpoint so far, of epoch {known}, is gone; the best of those from here on is kept")
            return None
        write_whole(partial(self.make, source), self.place)
        return self.known


class CheckpointKeeper(Hook):
    """Writes epoch_N.pth after every epoch, of which the last two stay, and keeps the weights of the highest AP as best.pth,
    the averaged weights of their highest AP as best_ema.pth.

    A resumed run knows the best so far from its checkpoint, and measures first what the interruption left unmeasured.

    Args:
        folder: of the run.
        recorded: what was measured after an epoch, None where nothing was.
        record: to be written down in every checkpoint.
        kept: epoch of the best.pth and of the best_ema.pth that are there, None where there is none.
    """

    priority = "VERY_LOW"

    def __init__(
        self,
        folder: Path,
        recorded: Callable[[int], Mapping[str, Any] | None],
        record: Mapping[str, Any],
        kept: tuple[int | None, int | None] = (None, None),
    ) -> None:
        self.folder, self.recorded, self.record = folder, recorded, record
        self.weights = Best(folder / BEST, _link, kept[0])
        self.averages = Best(folder / BEST_EMA, _write_averages, kept[1])

    @property
    def best(self) -> dict[str, Any]:
        """Epoch and AP of the best, of weights and of their averages; None where there is none."""
        return {"best": self.weights.known, "best_ema": self.averages.known}

    def before_train(self, runner: Any) -> None:
        if not runner.epoch:
            return
        for best in (self.weights, self.averages):
            best.known = processes.once(partial(best.still_there, runner.epoch))
        measured = processes.once(lambda: self.recorded(runner.epoch))
        if measured is not None:
            self._consider(runner.epoch, measured)
        elif runner.epoch % runner.train_loop.val_interval == 0 or runner.epoch == runner.max_epochs:
            runner.val_loop.run()

    def after_train_epoch(self, runner: Any) -> None:
        epoch, meta = runner.epoch + 1, {"epoch": runner.epoch + 1, "iter": runner.iter}
        if not processes.is_first():
            return
        save = lambda aside: runner.save_checkpoint(str(aside.parent), aside.name, meta=meta)  # noqa: E731
        write_whole(save, epoch_file(self.folder, epoch))
        epoch_file(self.folder, epoch - 2).unlink(missing_ok=True)  # while one is written, the one before it is there

    def after_val_epoch(self, runner: Any, metrics: dict[str, Any] | None = None) -> None:
        self._consider(runner.epoch, metrics or {})

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        checkpoint |= {**self.best, "run": dict(self.record)}

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        self.weights.known, self.averages.known = checkpoint.get("best"), checkpoint.get("best_ema")

    def _consider(self, epoch: int, metrics: Mapping[str, Any]) -> None:
        self.weights.consider(epoch, metrics.get("AP"))
        self.averages.consider(epoch, metrics.get(EMA, {}).get("AP"))


def _link(source: Path, place: Path) -> None:
    """A second name for a file that nothing will change, or a copy where the file system has no such names."""
    place.unlink(missing_ok=True)
    try:
        os.link(source, place)
    except OSError:
        shutil.copyfile(source, place)


def _write_averages(source: Path, place: Path) -> None:
    """The averaged weights of a checkpoint as one of its own, to use and not to go on from."""
    content = safe_load(source)
    torch.save({"meta": content["meta"], "run": content["run"], "state_dict": content[AVERAGED]}, place)
