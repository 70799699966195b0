"""The data set that a command or a call names: found, made where it is the generated one, and checked before it is used."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..data import DataSource, Report, check, resolve
from ..data.report import DataWarning, refuse
from ..data.sources import NEEDED

HEADERS = 50  # images opened per split before work starts; 'data check' opens more, or all


def find_data(data: str, root: Path | None, images: int | None = None) -> DataSource:
    """The data set that --data names, made first if it is the generated one."""
    named: dict[str, Any] = {}
    if images is not None:
        if data != "synthetic":
            raise ValueError(f"--images: belongs to --data synthetic, got --data {data}")
        named["images"] = images
    with data_progress() as progress:
        return resolve(data, root, progress=progress, **named)


def checked(source: DataSource, splits: Sequence[str] = NEEDED) -> Report:
    """What `data check` says of data to work with; of what it warns of, this warns with a `DataWarning`.

    Raises:
        ValueError: with its first error.
    """
    report = check(source, headers=HEADERS, splits=splits)
    refuse(report.errors)
    for warning in report.warnings:
        warnings.warn(str(warning), DataWarning, stacklevel=2)
    return report


@contextmanager
def data_progress(title: str = "making images") -> Iterator[Callable[[int, int], None]]:
    """A progress bar that appears with the first image and leaves the terminal in order, whatever happens."""
    from .progress import make_bar
    from .terminal import terminal

    bar = make_bar(terminal(stderr=True))

    def advance(done: int, total: int) -> None:
        if not bar.tasks:
            bar.add_task(title, total=total, note="")
            bar.start()
        bar.update(bar.task_ids[0], completed=done)

    try:
        yield advance
    finally:
        if bar.tasks:
            bar.stop()
