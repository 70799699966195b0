"""`detassign bench assigners --speed`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..engine.files import check_files
from .common import choose, options
from .tables import say, table

if TYPE_CHECKING:
    from ..bench.assigner_speed import SpeedRow

LEGEND = (
    "ms: median of matching, weighting, loss and backward; share: ours of the peer's; peak: what the process grows by beyond "
    "what was there. -: not measured; no: more memory than a process is given here."
)

speed_options = options(
    click.option("--speed", is_flag=True, help="Measure time and memory of the assigners alone; trains nothing."),
    click.option(
        "--objects", default="1,10,100,1000", show_default=True, metavar="N,N,…", help="Per image, with --speed."
    ),
    click.option(
        "--threads",
        metavar="N,N,…",
        help="Of each cell, cores / jobs if left out; with --speed several, 1,2 if left out.",
    ),
    click.option(
        "--repeats",
        type=click.IntRange(min=1),
        default=5,
        show_default=True,
        help="Runs behind each median, with --speed.",
    ),
    click.option("--out", type=click.Path(path_type=Path), help="Also write the rows to this JSON file, with --speed."),
)


def measure_speed(names: Sequence[str] | None, objects: str, threads: str, repeats: int, out: Path | None) -> None:
    """Measure, print a table for every number of threads, and write the rows as they come."""
    from ..bench.assigner_speed import conditions, measure
    from ..engine.files import write_json
    from ..engine.provenance import processor
    from ..engine.runner import calm

    counts, pools = _numbers(objects, "--objects"), _numbers(threads, "--threads")
    check_files(out)
    rows: list[SpeedRow] = []
    with calm():
        for found in measure(names, counts, pools, repeats):
            rows += found
            click.echo(f"{found[0].assigner}, {found[0].objects} objects: {_brief(found)}", err=True)
            if out:  # after every row: all of them take a while
                described = {"device": processor(), **conditions(), "repeats": repeats}
                write_json({"conditions": described, "rows": [row.to_dict() for row in rows]}, out)
    for count in pools:
        chosen = [row for row in rows if row.threads == count]
        columns = ["assigner", "objects", "ms", "peak, MB", "peer", "peer, ms", "peer, MB", "share"]
        table(columns, list(_table(chosen)), f"{count} thread{'s' if count > 1 else ''}")
    say(LEGEND)
    if out:
        click.echo(str(out))


def _table(rows: Sequence[SpeedRow]) -> Any:
    for row in rows:
        if row.side != "detassign":
            continue
        peers = [r for r in rows if (r.assigner, r.objects) == (row.assigner, row.objects) and r is not row]
        own = [row.assigner, str(row.objects), _ms(row), _megabytes(row)]
        yield from ([*own, r.side, _ms(r), _megabytes(r), _share(row, r)] for r in peers)
        if not peers:
            yield [*own, "-", "-", "-", "-"]


def _brief(rows: Sequence[SpeedRow]) -> str:
    return ", ".join(f"{row.side} {_ms(row)} ms on {row.threads}" for row in rows)


def _ms(row: SpeedRow) -> str:
    return "no" if row.seconds is None else f"{1000 * row.seconds:.0f}"


def _megabytes(row: SpeedRow) -> str:
    return "-" if row.extra_bytes is None else f"{row.extra_bytes / 1e6:.0f}"


def _share(row: SpeedRow, peer: SpeedRow) -> str:
    return "-" if None in (row.seconds, peer.seconds) else f"{row.seconds / peer.seconds:.2f}"


def _numbers(text: str, option: str) -> list[int]:
    parts = choose(text)
    wrong = [part for part in parts if not (part.isdigit() and int(part))]
    if wrong:
        raise click.BadParameter(f"expected whole numbers of at least 1, got {wrong[0]!r}", param_hint=option)
    return [int(part) for part in parts]
