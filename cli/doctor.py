"""`detassign doctor`. Needs click alone, and torch when it runs: it has to run where things are missing."""

from __future__ import annotations

import json
import shutil
import textwrap
from collections.abc import Sequence
from typing import Any

import click

from .doctor_ops import examine_ops, rows_of_ops, verdict

WIDE = 140  # columns of what is no terminal


@click.command("doctor")
@click.option(
    "--ops", "list_ops", is_flag=True, help="List mmcv's ops instead: what serves each, which configs of mmdet need it."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(list_ops: bool, as_json: bool) -> int:
    """Show versions, compiled ops and devices, what would run where, and what is known to go wrong.

    The exit status is 1 where nothing can train.

    \b
    detassign doctor
    detassign doctor --ops
    """
    found = examine_ops() if list_ops else _examined()
    if as_json:
        text = json.dumps(found, indent=2, allow_nan=False)  # as `json_text`, which needs more than torch and click
        click.echo(text)
        return int(bool(found.get("errors")))
    if list_ops:
        _show("mmcv's ops", [("", "served by", "needed by mmdet's"), *rows_of_ops(found)])
        click.echo(verdict(found))
        return 0
    _show("versions", [(name, version or "not installed") for name, version in found["versions"].items()])
    for title in ("mmcv", "kernels", "cpu", "cuda"):
        _show(title, [(name.replace("_", " "), value) for name, value in found[title].items()])
    _show("ops", [("", *found["kernels"]), *((op, *where.values()) for op, where in found["ops"].items())])
    for kind in ("error", "warning"):
        for sentence in found[f"{kind}s"]:
            click.echo(f"{kind}: {sentence}")
    if not found["errors"] and not found["warnings"]:
        click.echo("nothing is known to be wrong")
    return int(bool(found["errors"]))


def _examined() -> dict[str, Any]:
    from .doctor_examination import examine  # imports torch, for which the completion of options need not wait

    return examine()


def _show(title: str, rows: Sequence[Sequence[object]]) -> None:
    """A title, and below it rows in columns."""
    click.echo(title)
    widths = [max(len(str(row[column])) for row in rows) for column in range(len(rows[0]))]
    whole = {"width": shutil.get_terminal_size((WIDE, 0)).columns, "break_long_words": False, "break_on_hyphens": False}
    for row in rows:
        *cells, last = [str(cell).ljust(width) for cell, width in zip(row, widths, strict=True)]
        before = "  " + "".join(f"{cell}  " for cell in cells)
        text = textwrap.fill(last, initial_indent=before, subsequent_indent=" " * len(before), **whole)
        click.echo((text or before).rstrip())
