"""What people see of a grid that runs: a line per cell, the time that is left, and a bar over the steps of all cells."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ...data.files import read_json
from ...engine.files import last_lines
from ...engine.hooks import metrics_line
from ...engine.progress import make_bar
from ...engine.summary import METRICS
from ...engine.terminal import terminal
from ...evidence.words import duration, printable
from .plan import Cell
from .records import LARGEST


class Overview:
    """Tells of cells as they run.

    Args:
        plan: all cells of the grid, whose places in it are told.
        quiet: show nothing.
    """

    def __init__(self, plan: Sequence[Cell], quiet: bool = False) -> None:
        self.console = terminal(stderr=True, quiet=quiet)
        self.bar = make_bar(self.console)
        self.numbers = {cell: f"[{number}/{len(plan)}]" for number, cell in enumerate(plan, 1)}
        self.steps: dict[Cell, int] = {}  # done
        self.begun: dict[Cell, float] = {}
        self.waited_for: set[Cell] = set()

    @contextmanager
    def over(self, cells: Sequence[Cell]) -> Iterator[None]:
        """Shows the bar while these cells are run."""
        self.steps = {cell: steps_done(cell.folder) for cell in cells}
        self.before, self.since = sum(self.steps.values()), time.monotonic()
        self.total = sum(cell.steps for cell in cells)
        if len(cells) < len(self.numbers):
            self._say(f"{len(self.numbers) - len(cells)} of {len(self.numbers)} cells are done already")
        self.task = self.bar.add_task("steps", total=self.total, completed=self.before, note="")
        with self.bar:
            yield

    def started(self, cell: Cell) -> None:
        self.begun[cell] = time.monotonic()
        done = self.steps.get(cell, 0)
        self._tell(cell, f"goes on after {done} of {cell.steps} steps" if done else "started")

    def finished(self, cell: Cell) -> None:
        metrics = read_json(cell.record, LARGEST)["metrics"]
        self.steps[cell] = cell.steps
        took = f" in {duration(time.monotonic() - self.begun[cell])}" if cell in self.begun else ""
        score = metrics.get("AP")
        shown = "-" if score is None else f"{100 * score:.1f}"
        self._tell(cell, f"AP {shown}{took}{self._left()}")

    def failed(self, cell: Cell, why: str) -> None:
        self.steps[cell] = cell.steps
        self._tell(cell, f"failed: {why}{self._left()}")

    def elsewhere(self, cell: Cell) -> None:
        """Another process runs the cell; told once."""
        if cell not in self.waited_for:
            self.waited_for.add(cell)
            self._tell(cell, "another process is at it, which is waited for")

    def look(self, running: Collection[Cell]) -> None:
        """Move the bar to where the running cells are."""
        for cell in running:
            self.steps[cell] = min(steps_done(cell.folder), cell.steps)
        self.bar.update(self.task, completed=sum(self.steps.values()), note=f"{len(running)} running")

    def _left(self) -> str:
        """How long the rest takes, from how long the steps since the start took, however many ran at a time."""
        done = sum(self.steps.values())
        if done <= self.before or done >= self.total:
            return ""
        pace = (time.monotonic() - self.since) / (done - self.before)
        return f"; about {duration(pace * (self.total - done))} left for the rest"

    def _tell(self, cell: Cell, text: str) -> None:
        self._say(f"{self.numbers[cell]} {cell.name}: {text}")

    def _say(self, text: str) -> None:
        self.console.print(printable(text), soft_wrap=True)


def steps_done(folder: Path) -> int:
    """Steps of a run so far, by its metrics file."""
    lines = filter(None, map(metrics_line, reversed(last_lines(folder / METRICS))))
    return next((line["step"] for line in lines if isinstance(line["step"], int)), 0)
