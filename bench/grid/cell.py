"""Running one cell of a grid in a process of its own, so that its peak memory is its own and a crash takes only itself down.

    python -m detassign.bench.grid.cell    < a line of JSON: what to run, see `Order`

The process ends when its standard input does: with the one that started it, however that ended.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...data.files import read_json
from ...engine import imports
from ...engine.files import write_bytes, write_json
from ...engine.reasons import reason
from ...engine.terminal import take_all_letters
from .lifeline import end_with_input
from .locking import locked
from .records import LARGEST, make_record

BUSY, FAILED = 75, 1  # exit statuses; the first is sysexits' for "try again"


@dataclass(frozen=True)
class Order:
    """What a process needs to know to run a cell, wherever it runs.

    Attributes:
        folder: of the run; what else belongs to the cell lies beside it.
        work_dir: of the grid.
        config: of the run.
        labels: detector, assigner, data and seed.
        conditions: of the cell's record.
        threads: of torch and OpenCV; None leaves them as they are.
    """

    folder: str
    work_dir: str
    config: Mapping[str, Any]
    labels: Mapping[str, Any]
    conditions: Mapping[str, Any]
    threads: int | None = None

    def on(self, device: str) -> Order:
        """The same on a device."""
        return replace(self, config={**self.config, "device": device})

    def beside(self, ending: str) -> Path:
        """A file of the cell."""
        return Path(f"{self.folder}.{ending}")


def run(order: Order) -> bool:
    """Train the cell, or go on with it, and write its record; False where another process is at it.

    A cell that has been finished in the meantime is left as it is. Why a run ended lies beside it, in .failed.
    """
    order.beside("lock").parent.mkdir(parents=True, exist_ok=True)
    with locked(order.beside("lock")) as mine:
        if mine and not order.beside("json").is_file():
            order.beside("failed").unlink(missing_ok=True)
            try:
                write_json(make_record(order.labels, order.conditions, _train(order)), order.beside("json"))
            except Exception as error:
                write_bytes(f"{reason(error)}\n".encode(), order.beside("failed"))
                raise
    return mine


def _train(order: Order) -> dict[str, Any]:
    """The summary of the cell's run; one that is over is not run again."""
    from ...engine.train import SUMMARY, train

    folder = Path(order.folder)
    if (folder / SUMMARY).is_file():
        return read_json(folder / SUMMARY, LARGEST)
    _use_threads(order.threads)
    imports.restore(order.config, Path(order.work_dir), trust=True)  # the user named it where the cell was planned
    return train(order.config, folder, resume=True, quiet=True)


def _use_threads(count: int | None) -> None:
    import cv2
    import torch

    if count is not None:
        torch.set_num_threads(count)
        cv2.setNumThreads(count)


def main() -> int:
    take_all_letters()
    order = Order(**json.loads(sys.stdin.buffer.readline()))
    end_with_input()
    try:
        return 0 if run(order) else BUSY
    except KeyboardInterrupt:
        return FAILED
    except Exception:
        traceback.print_exc()
        return FAILED


if __name__ == "__main__":
    sys.exit(main())
