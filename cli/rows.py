"""The rows of a measurement, told and written to a file as they come: a measurement takes minutes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from ..engine.files import write_json

RowT = TypeVar("RowT")


def keep_rows(
    measured: Iterable[RowT], tell: Callable[[RowT], str], out: Path | None, about: Mapping[str, Any]
) -> list[RowT]:
    """All rows, once the last is there.

    Args:
        measured: rows that have a `to_dict`, as they come.
        tell: a row's line on the terminal.
        out: JSON file of the rows so far, written after every one and at the end.
        about: what else it holds.
    """
    rows: list[RowT] = []
    for row in measured:
        rows.append(row)
        click.echo(tell(row), err=True)
        _write(rows, out, about)
    _write(rows, out, about)  # also what was left out since, or in the place of all
    return rows


def _write(rows: Iterable[Any], out: Path | None, about: Mapping[str, Any]) -> None:
    if out:
        write_json({**about, "rows": [row.to_dict() for row in rows]}, out)
