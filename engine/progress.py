"""The project's progress bar; on standard error."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column

from ..evidence.words import printable
from .terminal import terminal

ROOMY = 110  # columns of a terminal from which on a bar is longer and tells the time taken too
LONG_BAR, SHORT_BAR = 20, 10


@contextmanager
def progress_bar(title: str, total: int, quiet: bool = False) -> Iterator[Callable[[], None]]:
    """A bar over `total` pieces of work; the function it gives advances it by one."""
    with make_bar(terminal(stderr=True, quiet=quiet)) as bar:
        task = bar.add_task(printable(title), total=total, note="")
        yield lambda: bar.advance(task)


def make_bar(console: Console) -> Progress:
    """A bar that shows the time left and a note at any width; a narrow terminal has a shorter bar and no time taken."""
    column = partial(Column, no_wrap=True)
    roomy = console.width >= ROOMY
    parts = [
        TextColumn("{task.description}", markup=False, table_column=column(max_width=console.width // 4)),
        BarColumn(LONG_BAR if roomy else SHORT_BAR, table_column=column()),
        MofNCompleteColumn(table_column=column()),
        *([TimeElapsedColumn(table_column=column())] if roomy else []),
        TimeRemainingColumn(elapsed_when_finished=not roomy, table_column=column()),
        TextColumn("{task.fields[note]}", markup=False, table_column=column()),
    ]
    return Progress(*parts, console=console)


def note_of(facts: Sequence[str], bar: Progress, task: TaskID) -> str:
    """As many of the facts, the first ones, as there is room for beside the bar.

    >>> from detassign.engine.terminal import terminal
    >>> bar = make_bar(terminal(width=55))
    >>> note_of(["epoch 1/2", "loss 1.234", "AP 12.3"], bar, bar.add_task("", total=100))
    'epoch 1/2  loss 1.234'
    """
    room = bar.console.width - sum(
        _width(column, bar.tasks[bar.task_ids.index(task)]) + 1 for column in bar.columns[:-1]
    )
    note = ""
    for fact in facts:
        longer = f"{note}  {fact}" if note else fact
        if len(longer) > room:
            break
        note = longer
    return note


def _width(column: ProgressColumn, task: Task) -> int:
    """Columns of the terminal that a part of the bar takes; a time may grow by a digit or two."""
    if isinstance(column, BarColumn):
        return column.bar_width
    if isinstance(column, TimeElapsedColumn | TimeRemainingColumn):
        return len("100:00:00")
    return column.render(task).cell_len
