"""`detassign bench report` and `detassign bench compare`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..data.files import json_text, new_folder
from .tables import say, table

if TYPE_CHECKING:
    from ..bench.compare import Measured, Pair
    from ..bench.report import Report
    from ..evidence.report.records import Row

__all__ = ["compare", "report", "show"]

WIDEST = 80  # columns of a table: what fits everywhere, and into a message
SHOWN = 12  # classes of a comparison that are told in a terminal


@click.command("report")
@click.argument("comparison", type=click.Path(path_type=Path), metavar="FOLDER|RESULTS.JSON")
@click.option("--baseline", metavar="ASSIGNER", help="What others are compared with; the first row if left out.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="A new folder for the report; that of the comparison if left out."
)
def report(comparison: Path, baseline: str | None, out: Path | None) -> None:
    """Report a comparison: a page, Markdown, LaTeX, figures for a paper, and what is significant in plain words.

    FOLDER is the --work-dir of 'bench assigners'. The page (results.html) needs no network. 'bench assigners' writes the same
    report when it ends.

    \b
    detassign bench report runs/bench-fcos_tiny --baseline atss
    detassign bench report bench/results/fcos_tiny_cpu --out report
    """
    from ..bench.report import read_records, write_report

    records = read_records(comparison)
    if out is None and not comparison.is_dir():
        raise ValueError(f"--out: name a folder for the report of {comparison}")
    folder = comparison if out is None else _reported(out)
    show(write_report(records.runs, records.conditions, folder, baseline))


@click.command("compare")
@click.argument("first", type=click.Path(path_type=Path), metavar="A")
@click.argument("second", type=click.Path(path_type=Path), metavar="B")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: all numbers, AP as a share of 1.")
def compare(first: Path, second: Path, as_json: bool) -> None:
    """Tell what differs between two runs or two comparisons: configs, environment, and every measure.

    A and B are folders of runs, folders of comparisons, or their results.json. Where seeds pair, differences are B less A,
    seed by seed, with a 95 % interval and the p of the exact sign-flip test.

    \b
    detassign bench compare runs/fcos_tiny-fcos-synthetic runs/fcos_tiny-dw-synthetic
    detassign bench compare runs/bench-before runs/bench-after --json
    """
    from .. import compare as compared
    from ..bench.compare import LEGEND

    found = compared(first, second)
    if as_json:
        click.echo(json_text(found.to_dict(), indent=2))
        return
    _say_differences("config", found.config)
    _say_differences("environment", found.environment)
    for pair in found.pairs:
        _show_pair(pair)
    for side, rows in zip((first, second), found.alone, strict=True):
        if rows:
            say(f"only in {side}: {', '.join(map(_named, rows))}")
    say(LEGEND)


def show(written: Report) -> None:
    """A report in the terminal: what was measured, what differs, the reading, and where the files are."""
    from ..evidence.report import tables
    from ..evidence.report.reading import reading

    analysis = written.analysis
    table(*tables.results_table(analysis, tables.QUALITY), widest=WIDEST)
    table(*tables.results_table(analysis, tables.COST), widest=WIDEST)
    say(tables.LEGEND)
    if analysis.compared:
        table(*tables.differences_table(analysis), title=f"AP less that of {tables.baselines(analysis)}", widest=WIDEST)
        say(tables.LEGEND_OF_DIFFERENCES)
    for section in reading(analysis):
        say("\n".join(["", section.title, *(f"- {sentence}" for sentence in section.sentences)]))
    click.echo("\n".join(["", *(str(path) for name, path in written.paths.items() if "/" not in name)]))


def _say_differences(what: str, found: Mapping[str, tuple[list[Any], list[Any]]]) -> None:
    if not found:
        say(f"{what}: nothing differs")
        return
    table([what, "A", "B"], [[key, *map(_values, both)] for key, both in found.items()], widest=WIDEST)


def _values(values: Sequence[Any]) -> str:
    return ", ".join(value if isinstance(value, str) else json_text(value) for value in values) or "-"


def _show_pair(pair: Pair) -> None:
    """Every measure of two rows, and the classes that differ most."""
    names = [_named(row) for row in (pair.first, pair.second)]
    title = names[0] if names[0] == names[1] else f"A: {names[0]}; B: {names[1]}"
    rows = [_measured(one, one.name) for one in pair.measures]
    by_size = sorted(pair.classes, key=lambda one: abs(one.difference.sample.mean) if one.difference else 0.0)
    rows += [_measured(one, "AP", f"AP of {one.name}") for one in reversed(by_size[-SHOWN:])]
    table(["measure", "A", "B", "B - A", "95 %", "p", "n"], rows, title=title, widest=WIDEST)
    if len(by_size) > SHOWN:
        say(f"of {len(by_size)} classes the {SHOWN} that differ most; --json has all")


def _named(row: Row) -> str:
    return " ".join(filter(None, (row.detector, row.assigner))) + (f" on {row.data}" if row.data else "")


def _measured(one: Measured, measure: str, name: str | None = None) -> list[str]:
    from ..evidence.report.tables import told_p

    heading, tell = _units(measure)
    sides = [tell(sample.mean) if sample else "-" for sample in (one.first, one.second)]
    found = one.difference
    if found is None:
        return [name or heading, *sides, "-", "-", "-", "0"]
    limits = found.sample.interval
    spread = f"[{tell(limits.low)}, {tell(limits.high)}]" if limits else "-"
    p = told_p(found.p if found.adjusted is None else found.adjusted) if found.sample.count > 1 else "-"
    return [name or heading, *sides, tell(found.sample.mean, "+"), spread, p, str(found.sample.count)]


def _units(measure: str) -> tuple[str, Callable[..., str]]:
    """The heading of a measure and what tells its values."""
    from ..evidence.report.tables import COLUMNS

    heading, factor, digits = COLUMNS.get(measure, (measure, 1.0, 0))
    return heading, lambda value, sign="": f"{factor * value:{sign},.{digits}f}"


def _reported(out: Path) -> Path:
    """A new folder, or one that holds a report."""
    from ..bench.report import PAGE

    return out if (out / PAGE).is_file() else new_folder(out)
