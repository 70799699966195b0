"""A comparison's report in a folder, and reading back what one was made of."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..data.files import json_text, read_json
from ..engine.files import write_bytes
from ..evidence.report.analysis import Analysis, analyse
from ..evidence.report.figures import figures
from ..evidence.report.html import page
from ..evidence.report.latex import latex
from ..evidence.report.markdown import markdown
from ..evidence.report.records import MEASURES, Row
from ..evidence.report.tables import document_rows
from .grid import records as grid
from .grid.plan import is_grid, read_grid

__all__ = ["FIGURES", "PAGE", "RESULTS", "Records", "Report", "conditions_of", "read_records", "write_report"]

RESULTS, PAGE, FIGURES = "results.json", "results.html", "figures"  # in a comparison's folder
LARGEST = 2**28  # bytes of a results.json; a run has some ten thousand


class Report(NamedTuple):
    """What a report tells, and its files by their names in the folder."""

    analysis: Analysis
    paths: dict[str, Path]


class Records(NamedTuple):
    """The runs of a comparison and what held for all of them."""

    runs: list[Any]
    conditions: dict[str, Any]
    where: Path


def write_report(
    records: Sequence[Mapping[str, Any]], conditions: Mapping[str, Any], folder: Path, baseline: str | None = None
) -> Report:
    """Write results.json, .csv, .md, .tex, .html and .png, and figures as PDF and PNG.

    Args:
        records: of each run its summary with "detector", "assigner" and "data"; the conditions name what they leave out.
        conditions: that held for all, as people should be told them.
        folder: is made if it is not there.
        baseline: the assigner that others are compared with; each detector's and data set's first if left out.

    Raises:
        ValueError: for records that are none, and a baseline that is not among them.
    """
    analysis = analyse(records, conditions, baseline)
    contents = _contents(analysis, records)
    (folder / FIGURES).mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        write_bytes(content, folder / name)
    return Report(analysis, {name: folder / name for name in contents})


def read_records(path: Path) -> Records:
    """The runs of a comparison's folder, finished cells that no report has yet included, or of its results.json.

    Raises:
        FileNotFoundError: where there is none.
        ValueError: for a file of something else.
    """
    if not path.is_dir():
        return _of_document(path)
    cells = grid.read_records(path) if is_grid(path) else []
    reported = _of_document(path / RESULTS) if (path / RESULTS).is_file() else None
    if cells:
        told = read_grid(path)
        earlier = reported.conditions if reported else {}
        return Records(_in_order(cells, told.get("rows")), {**earlier, **conditions_of(cells, told)}, path)
    if reported is None:
        raise FileNotFoundError(f"{path} holds no {RESULTS}: it is no comparison, or none of its runs is finished")
    return reported


def conditions_of(cells: Sequence[Mapping[str, Any]], told: Mapping[str, Any]) -> dict[str, Any]:
    """What held for a grid's finished cells, as people should be told.

    Args:
        cells: their records.
        told: what the grid says of itself: the "conditions" that all rows share, and what they "differ" in.
    """
    differ = told.get("differ")
    return {
        **told.get("conditions", {}),
        "device": ", ".join(grid.hardware(cells)),
        "torch": ", ".join(dict.fromkeys(str(cell["versions"].get("torch")) for cell in cells)),
        **({} if differ is None else {"differs besides the assigner": "; ".join(differ) or "nothing"}),
    }


def _of_document(file: Path) -> Records:
    document = read_json(file, LARGEST)
    if not isinstance(document, dict) or not isinstance(document.get("runs"), list):
        raise ValueError(f"{file}: expected a comparison's results, an object with 'runs'")
    conditions = document.get("conditions", {})
    if not isinstance(conditions, dict):
        raise ValueError(f"{file}: 'conditions' is no object")
    return Records(document["runs"], conditions, file)


def _in_order(cells: list[dict[str, Any]], rows: Any) -> list[dict[str, Any]]:
    """Cells in the order of the rows that were asked for, which decides what is the baseline; then all others."""
    wanted = [tuple(row.get(part) for part in Row._fields) for row in rows or () if isinstance(row, dict)]
    places = {row: place for place, row in enumerate(wanted)}
    return sorted(cells, key=lambda cell: places.get(tuple(cell[part] for part in Row._fields), len(places)))


def _contents(analysis: Analysis, records: Sequence[Mapping[str, Any]]) -> dict[str, bytes]:
    """Every file by its name in the folder; all are made before any is written."""
    brief = [
        {key: value for key, value in record.items() if key != "conditions"} for record in records
    ]  # of cells: long
    document = {"conditions": dict(analysis.conditions), "table": document_rows(analysis), "runs": brief}
    drawn = figures(analysis)
    texts = {
        RESULTS: json_text(document, indent=2) + "\n",
        "results.csv": _csv(analysis),
        "results.md": markdown(analysis),
        "results.tex": latex(analysis),
        PAGE: page(analysis),
    }
    overview = {"results.png": drawn["curves"]["png"]} if "curves" in drawn else {}
    pictures = {f"{FIGURES}/{name}.{kind}": one[kind] for name, one in drawn.items() for kind in one}
    return {**{name: text.encode(errors="backslashreplace") for name, text in texts.items()}, **overview, **pictures}


def _csv(analysis: Analysis) -> str:
    """A line for each run, in a summary's units."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(["detector", "assigner", "data", "seed", *MEASURES, *(f"AP/{name}" for name in analysis.classes)])
    for entry in analysis.entries:
        for run in entry.runs:
            values = [_plain(run.values.get(measure)) for measure in MEASURES]
            writer.writerow([*run.row, run.seed, *values, *(run.classes.get(name) for name in analysis.classes)])
    return buffer.getvalue()


def _plain(value: float | None) -> float | int | None:
    """Counts without a point."""
    return int(value) if value is not None and value.is_integer() else value
