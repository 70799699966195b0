"""Tables for people: as wide as the terminal, without a word or a number broken."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

WIDE = 140  # columns of what is no terminal, where COLUMNS does not say
LONG = 24  # a longer word, such as a path or a tensor's name, may be folded before a whole column is left out
FRAME = 3  # columns of the frame beside every cell; one more closes it


@dataclass(frozen=True)
class Grid:
    """Headings and texts; a cell may have several lines."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def widths(self) -> list[int]:
        """Columns of the terminal that each column takes when nothing wraps."""
        return [max(_width(line) for line in _lines(cells)) for cells in self._by_column()]

    def least_widths(self, folding: bool = False) -> list[int]:
        """What each column takes when all wraps that may; with `folding` long words do too."""
        largest = LONG if folding else sys.maxsize
        return [max(min(largest, _width(part)) for part in _parts(*cells)) for cells in self._by_column()]

    def fits(self, width: int, folding: bool = False) -> bool:
        """Whether so many columns of a terminal are enough."""
        return _framed(self.least_widths(folding)) <= width

    def turned(self) -> Grid | None:
        """The same with a column for each row; None where a cell has several lines, or there is no row."""
        if not self.rows or any("\n" in cell for row in self.rows for cell in row):
            return None
        first, *others = self._by_column()
        return Grid(first, others)

    def only(self, kept: Sequence[int]) -> Grid:
        """The same with some of the columns."""
        return Grid([self.columns[i] for i in kept], [[row[i] for i in kept] for row in self.rows])

    def _by_column(self) -> list[list[str]]:
        return [list(column) for column in zip(self.columns, *self.rows, strict=True)]


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    title: str | None = None,
    spare: Collection[str] = (),
    widest: int | None = None,
) -> None:
    """Print a table. Where it is too wide its text wraps; then it is turned around; then columns are left out, and named.

    Args:
        columns: headings.
        rows: cells, as many as headings.
        title: above it.
        spare: headings of what is left out first; then from the right.
        widest: no wider than so many columns, whatever the terminal has.
    """
    from rich.table import Table
    from rich.text import Text

    from ..engine.terminal import terminal
    from ..evidence.words import printable

    width = min(terminal_width(), widest or sys.maxsize)
    whole = Grid([printable(name) for name in columns], [[printable(str(cell)) for cell in row] for row in rows])
    grid, left_out = fitting(whole, width, spare)
    drawn = Table(header_style="bold")
    for heading, size in zip(grid.columns, _shared_out(grid, width), strict=True):
        drawn.add_column(Text(heading), width=size, overflow="fold")
    for row in grid.rows:
        drawn.add_row(*map(Text, row))
    if title:
        say(printable(title))
    terminal(width=width).print(drawn)
    if left_out:
        needed = _framed(whole.least_widths())
        say(f"left out at a width of {width}: {', '.join(left_out)}; a width of {needed} shows all")


def fitting(grid: Grid, width: int, spare: Collection[str] = ()) -> tuple[Grid, list[str]]:
    """The grid as it fits, and the headings that it lost; the first two columns stay, whatever the width.

    >>> grid = Grid(["name", "AP", "AP50"], [["a", "12.5", "30.0"]])
    >>> fitting(grid, 24)[0] == grid
    True
    >>> fitting(grid, 16)
    (Grid(columns=['name', 'a'], rows=[['AP', '12.5'], ['AP50', '30.0']]), [])
    """
    turned = grid.turned() or grid
    for form, folding in ((grid, False), (turned, False), (grid, True), (turned, True)):
        if form.fits(width, folding):
            return form, []
    kept = list(range(len(grid.columns)))
    by_worth = sorted(kept[2:], key=lambda index: (grid.columns[index] in spare, index))
    while by_worth and not grid.only(kept).fits(width, folding=True):
        kept.remove(by_worth.pop())
    return grid.only(kept), [heading for index, heading in enumerate(grid.columns) if index not in kept]


def say(text: str) -> None:
    """Print prose, wrapped between words."""
    import click

    lines = [
        textwrap.fill(line, terminal_width(), break_long_words=False, break_on_hyphens=False)
        for line in text.split("\n")
    ]
    click.echo("\n".join(lines))


def terminal_width() -> int:
    """Columns of the terminal, or of what stands in for one."""
    from rich.console import Console

    given = os.environ.get("COLUMNS", "")
    if (sys.stdout and sys.stdout.isatty()) or (given.isdigit() and int(given)):
        return Console(width=int(given) if given.isdigit() and int(given) else None).width
    return WIDE


def _shared_out(grid: Grid, width: int) -> list[int]:
    """Widths that fit: the widest column gives way first, and breaks no word while another column can give."""
    widths = grid.widths()
    for least in (grid.least_widths(), grid.least_widths(folding=True), [1] * len(widths)):
        while _framed(widths) > width and (giving := [i for i, size in enumerate(widths) if size > least[i]]):
            widths[max(giving, key=widths.__getitem__)] -= 1
    return widths


def _framed(widths: Sequence[int]) -> int:
    return sum(widths) + FRAME * len(widths) + 1


def _lines(cells: Iterable[str]) -> list[str]:
    return [line for cell in cells for line in cell.split("\n")]


def _parts(heading: str, *cells: str) -> list[str]:
    """What of a column stays in one line: words, and whole lines with a number in them, unless they are prose."""
    lines = [[line] if _is_number(line) else line.split() for line in _lines(cells)]
    return [*heading.split(), *(part for line in lines for part in line), " "]


def _is_number(line: str) -> bool:
    return len(line) <= LONG and any(letter.isdigit() for letter in line)


def _width(text: str) -> int:
    from rich.cells import cell_len

    return cell_len(text)
