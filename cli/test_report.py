"""What `detassign test` says of what it measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..data.files import json_text
from .tables import say, table

if TYPE_CHECKING:
    from ..evaluation import Evaluation
    from ..evidence.evaluation.analysis import Analysis

WIDEST = 80  # columns of a table: what fits everywhere, and into a message
SHOWN = 12  # classes in the table of thresholds, those with the most objects


def tell(found: Evaluation, as_json: bool) -> None:
    """Print the averages, and what is best and worst where there is a report."""
    if found.checkpoint:
        click.echo(f"checkpoint: {found.checkpoint}", err=True)
    if as_json:
        click.echo(json_text(found.metrics, indent=2))
    else:
        _averages(found)
    if found.analysis is None:
        return
    if not as_json:
        _thresholds(found.analysis)
        _errors(found.analysis)
    click.echo(f"report: {found.folder}", err=as_json)


def _averages(found: Evaluation) -> None:
    from ..engine.evaluation import CLASSES

    shown = {name: value for name, value in found.metrics.items() if name != CLASSES}
    values = ["-" if value != value else f"{100 * value:.1f}" for value in shown.values()]
    table(
        [*shown], [values], title=f"{found.name} on {found.split}, at most {found.max_detections} detections per image"
    )


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
