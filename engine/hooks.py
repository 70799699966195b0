"""What a run shows and leaves behind: a progress bar, a metrics file, repeatable randomness."""

from __future__ import annotations

import json
import math
import random
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook, RuntimeInfoHook
from rich.progress import Progress
from torch import Tensor

from ..assigners import set_progress
from ..data.files import json_text
from ..detectors.observer import Observation
from ..evidence.telemetry.tally import count
from ..evidence.words import printable
from . import processes
from .progress import make_bar, note_of
from .sampling import steps_in_all
from .terminal import terminal
from .trackers import Trackers

COUNTED = ("targets", "without", "pairs", "effective", "steps")  # of every run
STATISTICS = (*COUNTED, "seconds")
FLUSH_EVERY = 50  # steps between reads of the losses of a GPU: reading one waits for it
NAMED = 140  # columns of a terminal on which a run's bar has room for its name


class MetricsFile(Hook):
    """One JSON line per step and per evaluation in metrics.jsonl; stops a run whose loss is not a number.

    Losses on a GPU are kept there and read together, the first at once and then every `FLUSH_EVERY` steps; where reading
    them costs nothing they are read at every step. `latest` is the last line of a step that was written; `trackers` are told
    every line.
    """

    priority = "NORMAL"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.waiting: list[dict[str, Any]] = []
        self.latest: dict[str, Any] = {}
        self.sums: dict[str, float] = {}  # over the steps of this epoch
        self.train_seconds = 0.0
        self.trackers = Trackers()
        self._started = 0.0

    def before_train(self, runner: Any) -> None:
        self._forget_after(runner)

    def before_train_epoch(self, runner: Any) -> None:
        self.sums = {}

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        self._started = time.perf_counter()

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        seconds = time.perf_counter() - self._started
        self.train_seconds += seconds
        rate = runner.optim_wrapper.param_groups[0]["lr"]
        entry = {"step": runner.iter + 1, "epoch": runner.epoch + 1, "lr": rate, "seconds": seconds}
        losses = {name: value.detach() for name, value in (outputs or {}).items()}
        self.waiting.append({**entry, **losses})
        at_once = not self.latest or all(value.device.type == "cpu" for value in losses.values())
        if at_once or len(self.waiting) >= FLUSH_EVERY:
            self.flush()

    def after_train_epoch(self, runner: Any) -> None:
        self.flush()

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        self._write(
            [{"step": runner.iter, "epoch": runner.epoch, "train_seconds": self.train_seconds, **(metrics or {})}]
        )

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        checkpoint["train_seconds"] = self.train_seconds

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        self.train_seconds = checkpoint.get("train_seconds", 0.0)

    def flush(self) -> None:
        """Write the waiting steps, losses averaged over the job's processes, which all do this at the same steps.

        Raises:
            ValueError: when a loss among them is not finite.
        """
        lines, self.waiting = self.waiting, []
        places = [(line, name) for line in lines for name, value in line.items() if isinstance(value, torch.Tensor)]
        if places:
            read = processes.mean(torch.stack([line[name].float() for line, name in places])).tolist()
            for (line, name), value in zip(places, read, strict=True):
                line[name] = value
        self._write(lines)
        self.latest = lines[-1] if lines else self.latest
        for line in lines:
            self.sums = {name: self.sums.get(name, 0.0) + value for name, value in {**line, "steps": 1}.items()}
            broken = [name for name, value in line.items() if name.startswith("loss") and not math.isfinite(value)]
            if broken:
                raise ValueError(
                    f"training: {broken[0]} became {line[broken[0]]} at step {line['step']}; "
                    "a lower learning rate (--set schedule.optimizer.lr=...) or gradient clipping (schedule.clip) helps"
                )

    def add(self, runner: Any, entry: dict[str, Any]) -> None:
        """A line of its own for an epoch whose steps are done, while it is still the runner's."""
        self._write([{"step": runner.iter, "epoch": runner.epoch + 1, **entry}])

    def means(self) -> dict[str, float]:
        """What the steps of this epoch had, by name, in the mean."""
        return {name: value / self.sums["steps"] for name, value in self.sums.items()}

    def _write(self, lines: list[dict[str, Any]]) -> None:
        if not processes.is_first():
            return
        with self.path.open("a", encoding="utf-8") as file:
            file.writelines(json_text(line) + "\n" for line in lines)
        self.trackers(lines)

    def _forget_after(self, runner: Any) -> None:
        """Drop lines of steps that a resumed run will do again."""
        if not processes.is_first() or not self.path.is_file():
            return
        kept = [line for line in read_metrics(self.path) if line["epoch"] <= runner.epoch]
        aside = self.path.with_name(self.path.name + ".part")
        aside.write_text("".join(json_text(line) + "\n" for line in kept), encoding="utf-8")
        aside.replace(self.path)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics file; what is no such line, as one cut off by an interruption, is left out."""
    return [
        line for text in path.read_text(encoding="utf-8", errors="replace").splitlines() if (line := metrics_line(text))
    ]


def metrics_line(text: str) -> dict[str, Any] | None:
    """A line of a metrics file; None for what is no such line."""
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return line if isinstance(line, dict) and {"step", "epoch"} <= line.keys() else None


class RunInfo(RuntimeInfoHook):
    """What mmengine keeps of a run, without every loss of every step: each would be a wait, and `MetricsFile` has them."""

    def after_train_iter(self, *arguments: Any, **named: Any) -> None:
        """Nothing."""


class EpochSeed(Hook):
    """Seeds every random generator at the start of each epoch, so that a resumed run goes on as if it had not stopped."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def before_train_epoch(self, runner: Any) -> None:
        words = np.random.SeedSequence([self.seed, runner.epoch, runner.rank]).generate_state(3)
        random.seed(int(words[0]))
        np.random.seed(words[1])
        torch.manual_seed(int(words[2]))


class TrainingProgress(Hook):
    """Tells the parts of an assigner that change on the way how much of the training is done, before every step.

    The data set is told before every epoch, whose workers begin with what it knows then. It is counted in epochs: those of a
    run that goes on with another batch size have other steps.
    """

    def before_train_epoch(self, runner: Any) -> None:
        runner.train_dataloader.dataset.set_progress(runner.epoch / runner.max_epochs)

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        done = runner.epoch * len(runner.train_dataloader) + batch_idx
        set_progress(runner.model, done / steps_in_all(runner.train_dataloader, runner.max_epochs))


class ProgressBar(Hook):
    """A bar over the steps of training, with the time left and the latest figures, AP in percent.

    Args:
        title: the run's name.
        metrics: has the losses.
        quiet: show nothing.
    """

    priority = "LOW"

    def __init__(self, title: str, metrics: MetricsFile, quiet: bool = False) -> None:
        self.console = terminal(stderr=True, quiet=quiet)
        self.title = printable(title) if self.console.width >= NAMED else ""
        self.metrics = metrics
        self.bar: Progress | None = None
        self.scores: dict[str, float] = {}

    def before_train(self, runner: Any) -> None:
        self.bar = make_bar(self.console)
        self.task = self.bar.add_task(self.title, total=self._steps(runner), completed=runner.iter, note="")
        self.bar.start()

    def _steps(self, runner: Any) -> int:
        """Steps done and to be done, however long an epoch was when some of them were done."""
        loader = runner.train_dataloader
        return runner.iter + steps_in_all(loader, runner.max_epochs) - runner.epoch * len(loader)

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        self.bar.update(self.task, advance=1)
        self._note(f"epoch {runner.epoch + 1}/{runner.max_epochs}")

    def after_val_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        if self.bar:
            self._note(f"evaluation {batch_idx + 1}/{len(runner.val_dataloader)}")

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        scores, averaged = metrics or {}, (metrics or {}).get("ema", {})
        self.scores = {name: scores[name] for name in ("AP", "AP50") if name in scores}
        self.scores |= {"EMA AP": averaged["AP"]} if "AP" in averaged else {}
        if self.bar:
            self._note(f"epoch {runner.epoch}/{runner.max_epochs}")

    def say(self, sentence: str) -> None:
        """A line of its own, above the bar where there is one."""
        console = terminal(stderr=True) if self.console.quiet else self.console
        console.print(f"detassign: {printable(sentence)}", soft_wrap=True)

    def _note(self, place: str) -> None:
        """What is most worth knowing first: a narrow terminal shows that."""
        latest = self.metrics.latest
        loss = [f"loss {latest['loss']:.4g}"] if "loss" in latest else []
        scores = [f"{name} {_percent(value)}" for name, value in self.scores.items()]
        rate = [f"lr {latest['lr']:.1e}"] if latest else []
        self.bar.update(self.task, note=note_of([place, *loss, *scores[:1], *rate, *scores[1:]], self.bar, self.task))

    def stop(self) -> None:
        """Leave the terminal in order, whatever ended the run."""
        if self.bar:
            self.bar.stop()
            self.bar = None


class AssignmentStatistics(Hook):
    """Watches a detector's assignments in training: how many positives objects get, and the time it takes.

    Objects count once for every time they are seen. Looks at every `every`-th step, since the clock waits for the device; what
    is counted stays there until the epoch is over. A checkpoint holds the sums over all processes, so a resumed run counts what
    came before too.

    Args:
        every: so many steps.
        look: what to add up of a step, on the device: `COUNTED`, and whatever else `of_epoch` is to have.
        parts: of a step, each of which is looked at as a step would be.
    """

    def __init__(
        self, every: int = 5, look: Callable[[Observation], dict[str, Tensor]] | None = None, parts: int = 1
    ) -> None:
        self.every, self.look, self.parts = every, look or counted, parts
        self.seen, self.seconds = 0, 0.0
        self.sums: dict[str, Tensor] = {}  # of this process in this epoch, on the device
        self.of_epoch: dict[
            str, Tensor
        ] = {}  # of all processes, in the last epoch that is over; empty where none was seen
        self.in_all = dict.fromkeys(STATISTICS, 0.0)  # of all processes and epochs

    def due(self) -> bool:
        self.seen += 1
        return (self.seen - 1) % self.every == 0

    def __call__(self, observation: Observation) -> None:
        found = {name: value.detach().double() for name, value in self.look(observation).items()}
        self.sums = {name: self.sums[name] + value if self.sums else value for name, value in found.items()}
        self.seconds += observation.seconds

    def after_train_epoch(self, runner: Any) -> None:
        self._fold()

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        checkpoint["assignment"] = {**self.in_all, "seen": self.seen}

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        kept = checkpoint.get("assignment", {})
        self.in_all = {name: kept.get(name, 0.0) for name in STATISTICS}
        self.seen = kept.get("seen", 0)

    def _fold(self) -> None:
        """Add this epoch's sums up over the processes, which have looked at the same steps."""
        sums, seconds = self.sums, self.seconds
        self.sums, self.seconds = {}, 0.0
        on_host = torch.cat([value.flatten() for value in sums.values()]).tolist() if sums else []
        *numbers, seconds = processes.total([*on_host, seconds])
        parts = torch.tensor(numbers, dtype=torch.float64).split([value.numel() for value in sums.values()])
        self.of_epoch = {name: part.view(value.shape) for (name, value), part in zip(sums.items(), parts, strict=True)}
        for name in COUNTED if sums else ():
            self.in_all[name] += float(self.of_epoch[name].sum())
        self.in_all["seconds"] += seconds

    def summary(self) -> dict[str, float]:
        """Means per target, and the mean seconds of assignment and loss per step, over all processes of the job."""
        self._fold()
        sums = self.in_all
        targets = max(sums["targets"], 1.0)
        return {
            "positives_per_target": sums["pairs"] / targets,
            "effective_positives_per_target": sums["effective"] / targets,
            "targets_without_positive": sums["without"] / targets,
            "assignment_seconds_per_step": self.parts * sums["seconds"] / max(sums["steps"], 1.0),
        }


def counted(observation: Observation) -> dict[str, Tensor]:
    """What is counted of every run, of one step."""
    return count(observation.assignment, observation.asked()[1])


def peak_memory_bytes() -> int:
    """The most memory this run has held: the GPU's allocator's on CUDA, else the process's resident set."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status")
    if status.is_file():  # getrusage's peak starts from that of the process that started this one
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{100 * share:.1f}"
