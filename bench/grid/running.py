"""Running the cells of a grid, several at a time, wherever each of them runs."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

from ...data.files import json_text
from ...engine import imports
from ...engine.files import last_lines
from .cell import BUSY, Order
from .locking import is_locked
from .overview import Overview
from .plan import Cell

MODULE = f"{__package__}.cell"
PAUSE = 0.5  # seconds between looks at what runs


class Job(Protocol):
    """A cell that runs somewhere."""

    def poll(self) -> int | None:
        """None while it runs, then its exit status, below 0 for the signal that ended it."""


class Place(Protocol):
    """Where cells run.

    Attributes:
        jobs: how many at a time.
    """

    jobs: int

    def start(self, cell: Cell, order: Order, slot: int) -> Job:
        """Start a cell as one of `jobs`; `slot` says which."""

    def leave(self, jobs: Sequence[Job]) -> None:
        """Part from jobs that still run, when the grid is given up."""


@dataclass
class Process:
    """A cell as a process of this machine."""

    process: subprocess.Popen

    def poll(self) -> int | None:
        status = self.process.poll()
        if status is not None:
            self.end()
        return status

    def end(self) -> None:
        """Close its input, on which it ends; see `cell`."""
        with suppress(BrokenPipeError):
            self.process.stdin.close()


@dataclass(frozen=True)
class Processes:
    """Cells as processes of this machine.

    Args:
        jobs: how many at a time.
        devices: on which they run, in turn; each of the jobs keeps its own.
    """

    jobs: int
    devices: Sequence[str]

    def start(self, cell: Cell, order: Order, slot: int) -> Process:
        order = order.on(self.devices[slot % len(self.devices)])
        with order.beside("log").open("ab") as log:
            streams = {"stdin": subprocess.PIPE, "stdout": log, "stderr": subprocess.STDOUT}
            process = subprocess.Popen([sys.executable, "-m", MODULE], **streams)
        with suppress(BrokenPipeError):  # it has ended, which its status tells
            process.stdin.write((json_text(asdict(order)) + "\n").encode())
            process.stdin.flush()
        return Process(process)

    def leave(self, jobs: Sequence[Process]) -> None:
        for job in jobs:
            job.end()
        for job in jobs:
            job.process.wait()


def run_cells(
    cells: Sequence[Cell], work_dir: Path, place: Place, overview: Overview, threads: int | None = None
) -> dict[Cell, str]:
    """Run cells; returns why those that failed did.

    A cell that another process runs is waited for, and taken on where that ends without a record.

    Args:
        cells: that have no record yet.
        work_dir: of the grid.
        place: where they run.
        overview: is told what happens.
        threads: of a cell; None leaves them to where it runs.
    """
    queue = Queue(list(cells), work_dir, place, overview, threads)
    try:
        with overview.over(cells):
            while queue.waiting or queue.running:
                queue.collect()
                queue.send()
                overview.look(queue.running)
                time.sleep(PAUSE if queue.running or queue.waiting else 0)
    finally:
        place.leave([job for job, _ in queue.running.values()])
    return queue.failed


@dataclass
class Queue:
    """Cells that wait and cells that run, each in a slot of a place.

    Args:
        waiting: cells.
        work_dir, place, overview, threads: as of `run_cells`.
    """

    waiting: list[Cell]
    work_dir: Path
    place: Place
    overview: Overview
    threads: int | None
    running: dict[Cell, tuple[Job, int]] = field(default_factory=dict)
    failed: dict[Cell, str] = field(default_factory=dict)

    def collect(self) -> None:
        """See which cells have ended, and how."""
        for cell, (job, _) in list(self.running.items()):
            status = job.poll()
            if status is None:
                continue
            del self.running[cell]
            if cell.record.is_file():
                self.overview.finished(cell)
            elif status == BUSY:
                self.waiting.append(cell)
            else:
                self.failed[cell] = why_failed(cell, status)
                self.overview.failed(cell, self.failed[cell])

    def send(self) -> None:
        """Start waiting cells that nobody is at, as many as there are slots for."""
        free = sorted({*range(self.place.jobs)} - {slot for _, slot in self.running.values()}, reverse=True)
        for cell in list(self.waiting):
            if not free:
                return
            if is_locked(cell.beside("lock")):
                self.overview.elsewhere(cell)
                continue
            self.waiting.remove(cell)
            if cell.record.is_file():
                self.overview.finished(cell)
            else:
                self._start(cell, free.pop())

    def _start(self, cell: Cell, slot: int) -> None:
        order = order_of(cell, self.work_dir, self.threads)
        order.beside("failed").unlink(missing_ok=True)
        self.running[cell] = self.place.start(cell, order, slot), slot
        self.overview.started(cell)


def order_of(cell: Cell, work_dir: Path, threads: int | None) -> Order:
    """What a process needs to run a cell; the cell's place is there then, and the code that its config names."""
    cell.folder.parent.mkdir(parents=True, exist_ok=True)
    imports.save(cell.config, work_dir)
    places = {"folder": str(cell.folder.absolute()), "work_dir": str(work_dir.absolute())}
    return Order(**places, config=cell.config, labels=cell.labels, conditions=cell.conditions, threads=threads)


def why_failed(cell: Cell, status: int) -> str:
    """One line: what the run said of it, or how its process ended."""
    said = cell.beside("failed")
    if said.is_file():
        return said.read_text(encoding="utf-8", errors="replace").strip()
    if status < 0:
        name = signal.Signals(-status).name
        return f"killed by {name}" + (", most often because memory ran out" if name == "SIGKILL" else "")
    lines = [line.strip() for line in last_lines(cell.beside("log")) if line.strip()]
    return lines[-1] if lines else f"ended with status {status} and said nothing"
