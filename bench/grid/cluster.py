"""Cells as jobs of a cluster, through submitit, which is needed for this alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from ...engine.reasons import reason
from .cell import BUSY, FAILED, Order, run
from .locking import is_locked
from .plan import Cell

JOBS = "jobs"  # folder of what submitit writes, in that of the grid
NAMES = ("slurm", "local")


@dataclass(frozen=True)
class Work:
    """What a job does. One that the cluster interrupts is handed in again and goes on from the last checkpoint."""

    order: Order

    def __call__(self) -> int:
        return 0 if run(self.order) else BUSY

    def checkpoint(self) -> Any:
        """submitit asks for this when time is up or the job makes way for another."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


@dataclass(frozen=True)
class Job:
    """A cell that was handed to the cluster."""

    cell: Cell
    job: Any

    def poll(self) -> int | None:
        """None while it waits or runs; what a job returned lies in files that could hold anything, and is not looked at."""
        if not self.job.done():
            return None
        there = {
            path.name for path in self.cell.record.parent.iterdir()
        }  # asks the file server, as a single file need not
        if self.cell.record.name in there:
            return 0
        return BUSY if is_locked(self.cell.beside("lock")) else FAILED


def load_submitit() -> ModuleType:
    """The package.

    Raises:
        ValueError: when it is not installed.
    """
    try:
        import submitit
    except ImportError:
        raise ValueError("--cluster: needs submitit; install it with: pip install 'detassign[cluster]'") from None
    return submitit


class Cluster:
    """Cells as jobs of a cluster.

    Args:
        name: "slurm", or "local" for processes of this machine that outlive this one.
        work_dir: of the grid, which all machines see.
        jobs: how many are handed over at a time.
        device: on which they run.
        options: of submitit: {"timeout_min": 600, "slurm_partition": "gpu"}.

    Raises:
        ValueError: when the cluster is not there, or does not take the options.
    """

    def __init__(self, name: str, work_dir: Path, jobs: int, device: str, options: Mapping[str, Any]) -> None:
        self.jobs, self.device = jobs, device
        try:
            self.executor = load_submitit().AutoExecutor(folder=work_dir / JOBS, cluster=name)
            self.executor.update_parameters(**{"name": "detassign", **options})
        except Exception as error:  # submitit raises of every kind
            raise ValueError(f"--cluster {name}: {reason(error)}") from error

    def start(self, cell: Cell, order: Order, slot: int) -> Job:
        return Job(cell, self.executor.submit(Work(order.on(self.device))))

    def leave(self, jobs: Sequence[Job]) -> None:
        """They go on: the cluster keeps them, and the same command finds what they have finished."""
