"""What `detassign test` says of what it measured, and where it lets the report be written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from ..data.files import json_text
from .tables import say, table

if TYPE_CHECKING:
    from ..data import DataSource
    from ..data.table import Table
    from ..engine.evaluation import Evaluation
    from ..evidence.evaluation.analysis import Analysis

WIDEST = 80  # columns of a table: what fits everywhere, and into a message
SHOWN = 12  # classes in the table of thresholds, those with the most objects


class Tested(NamedTuple):
    """What was measured, what on, and where the report of it goes."""

    name: str
    facts: dict[str, str]
    limit: int
    source: DataSource
    truth: Table
    metrics: dict[str, Any]
    detections: list[dict[str, Any]]
    evaluation: Evaluation | None
    folder: Path | None


def tell(tested: Tested, split: str, as_json: bool) -> None:
    """Print the averages, write the report, and print what is best and worst."""
    if as_json:
        click.echo(json_text(tested.metrics, indent=2))
    else:
        _averages(tested, split)
    if tested.folder is None:
        return
    analysis = _written(tested, split, tested.folder)
    if not as_json:
        _thresholds(analysis)
        _errors(analysis)
    click.echo(f"report: {tested.folder}", err=as_json)


def _averages(tested: Tested, split: str) -> None:
    from ..engine.evaluation import CLASSES

    shown = {name: value for name, value in tested.metrics.items() if name != CLASSES}
    values = ["-" if value != value else f"{100 * value:.1f}" for value in shown.values()]
    table([*shown], [values], title=f"{tested.name} on {split}, at most {tested.limit} detections per image")


def _written(tested: Tested, split: str, folder: Path) -> Analysis:
    from ..engine.evaluation_report import write_report
    from ..evidence.evaluation.analysis import analyse

    analysis = analyse(tested.evaluation.matching, tested.evaluation.accuracy)
    images = tested.source.place(split).images
    title = f"{tested.name} on {tested.source.name}, {split}"
    write_report(folder, title, tested.facts, analysis, tested.truth, images, tested.detections)
    return analysis


def _thresholds(analysis: Analysis) -> None:
    """The best of all classes together, and of the largest."""
    from ..evidence.evaluation.analysis import OVERLAP
    from ..evidence.report import evaluation_views as views

    headings, (first, *rows) = views.thresholds(analysis)
    counts = analysis.matching.object_counts.tolist()
    shown = sorted(sorted(range(len(counts)), key=lambda label: -counts[label])[:SHOWN])
    chosen = [first, *(rows[label] for label in shown)] if len(counts) > 1 else [first]
    table(headings, chosen, title=f"thresholds of the highest F1, at IoU {OVERLAP:g}", widest=WIDEST)
    if len(shown) < len(counts):
        say(f"of {len(counts)} classes the {len(shown)} largest; the report has all")


def _errors(analysis: Analysis) -> None:
    from ..evidence.report import evaluation_views as views

    if costliest := views.costliest(analysis):
        say(f"what costs most AP50: {', '.join(costliest)}")
