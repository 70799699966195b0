"""The project's progress bar; on standard error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from .terminal import printable, terminal


@contextmanager
def progress_bar(title: str, total: int, quiet: bool = False) -> Iterator[Callable[[], None]]:
    """A bar over `total` pieces of work; the function it gives advances it by one."""
    with make_bar(terminal(stderr=True, quiet=quiet)) as bar:
        task = bar.add_task(printable(title), total=total, note="")
        yield lambda: bar.advance(task)


def make_bar(console: Console) -> Progress:
    """A bar that shows the time taken and left, and a note."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        console=console,
    )
