"""The report of an evaluation as one page that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ..drawing.confusion import shares
from ..drawing.mistakes import Mistakes
from ..evaluation.analysis import OVERLAP, Analysis, Image
from ..pages.page import image_uri
from ..words import many
from . import evaluation_views as views
from . import parts, svg
from .svg import text
from .views import Panel

__all__ = ["Worst", "page"]

MOST_SHADE = 45  # percent of colour behind a count: it stays legible in light and in dark


class Worst(NamedTuple):
    """One of the worst images: its name, its counts, and how it looks; None where it could not be read."""

    name: str
    counts: Image
    drawn: Mistakes | None


def page(title: str, facts: Mapping[str, str], analysis: Analysis, worst: Sequence[Worst]) -> str:
    """A whole HTML document."""
    panels = {name: (panel.title, _with_legend(panel)) for name, panel in views.panels(analysis).items()}
    charts = {name: (chart.title, svg.draw_chart(chart)) for name, chart in views.charts(analysis).items()}
    drawn = {**panels, **charts}
    counts = {"images": analysis.matching.images, "objects": len(analysis.matching.object_labels)}
    counts["detections"] = len(analysis.matching.scores)

    def of(*names: str) -> str:
        return parts.figures(drawn[name] for name in names if name in drawn)

    return parts.document(
        title,
        [
            f"<h1>{text(title)}</h1>",
            parts.facts({**facts, **{name: f"{count:,}" for name, count in counts.items()}}),
            parts.section("In words", parts.listed(views.sentences(analysis))),
            parts.section("Average precision and recall", parts.table(views.averages(analysis)), of("classes")),
            parts.section("Precision over recall", of("precision_recall", "precision_recall_classes")),
            parts.section(
                "Which detections to keep",
                of("scores", "scores_classes"),
                parts.table(views.thresholds(analysis)),
                parts.note("The threshold of the highest F1 of all classes together, and of each by itself."),
            ),
            parts.section("What is taken for what", _confusion(analysis), parts.note(_confusion_note(analysis))),
            parts.section("What goes wrong", of("errors"), parts.table(views.kinds(analysis))),
            parts.section("The worst images", _worst_note(analysis), *map(_worst, worst)),
            parts.section("How the numbers were found", parts.listed(views.method(analysis))),
        ],
    )


def _with_legend(panel: Panel) -> str:
    keys = "".join(f"<li>{svg.draw_key(line.color, line.marked)}{text(line.name)}</li>" for line in panel.lines)
    return f'{svg.draw_panel(panel)}<ul class="legend">{keys}</ul>'


def _confusion(analysis: Analysis) -> str:
    """Counts on a ground whose strength is the share of the row."""
    names = views.names(analysis)
    heads = "".join(f'<th scope="col">{text(name)}</th>' for name in names)
    rows = zip(names, analysis.confusion.tolist(), shares(analysis.confusion).tolist(), strict=True)
    body = "".join(
        f'<tr><th scope="row">{text(name)}</th>{"".join(map(_cell, counts, part))}</tr>' for name, counts, part in rows
    )
    return (
        '<div class="scroll" tabindex="0"><table class="matrix"><thead><tr><th scope="col">truth \\ detected as</th>'
        f"{heads}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cell(count: int, share: float) -> str:
    return f'<td style="--share:{round(MOST_SHADE * share)}%">{count}</td>' if count else "<td></td>"


def _confusion_note(analysis: Analysis) -> str:
    return (
        f"Counts at IoU {OVERLAP:g} of detections with a score of at least {analysis.threshold:.3f}; the colour is the share "
        "of the row. Last column: objects that nothing detected; last row: detections of nothing."
    )


def _worst_note(analysis: Analysis) -> str:
    if not analysis.worst:
        return parts.note("No image has a mistake.")
    return parts.note(
        "Images with the most wrong detections and missed objects at the best threshold. Blue: found, or right. Orange: "
        "missed, or wrong, and in which way. Grey: crowd regions, in which detections count neither way."
    )


def _worst(image: Worst) -> str:
    _, right, wrong, missed = image.counts
    told = f"{image.name}: {right} right, {wrong} wrong, {missed} missed"
    if image.drawn is None:
        return f"<h3>{text(told)}</h3>{parts.note('The image cannot be read.')}"
    sides = (("truth", image.drawn.truth), (f"{many(right + wrong, 'detection')}", image.drawn.detected))
    figures = "".join(
        f'<figure><figcaption>{text(side)}</figcaption><img src="{image_uri(np.asarray(drawn))}" width="{drawn.width}" '
        f'height="{drawn.height}" alt="{text(f"{image.name}, {side}")}"></figure>'
        for side, drawn in sides
    )
    return f'<h3>{text(told)}</h3><div class="sides">{figures}</div>'
