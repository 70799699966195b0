"""The report as one page that needs nothing else: no script, no font, no address is asked for anything."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from . import parts, svg
from .analysis import Analysis
from .looks import looks
from .reading import Section, method, reading
from .svg import text
from .tables import (
    LEGEND,
    LEGEND_OF_DIFFERENCES,
    baselines,
    class_table,
    differences_table,
    results_table,
    runs_table,
)
from .views import Panel, charts, curves, legend

__all__ = ["page"]

BANDS = (
    "Lines: the mean over seeds; bands: from the lowest seed to the highest. Dotted: before the first evaluation, which nobody "
    "measured; a detector that has learned nothing finds nothing."
)
SEEN = (
    "By --telemetry. Instability (DN-DETR): samples that learn another object than after the epoch before, on training images "
    "without augmentation; it grows with how many samples an assigner gives. Weight that moved: share of an object's w⁺ that "
    "is with other samples than after the epoch before. Objects that no sample learns: in training steps."
)


def page(analysis: Analysis) -> str:
    """A whole HTML document."""
    title = _title(analysis)
    figures = {key: [(one.title, svg.draw_chart(one)) for one in several] for key, several in charts(analysis).items()}
    panels, seen = ([_panel(panel) for panel in several] for several in (curves(analysis), looks(analysis)))
    body = [
        f"<h1>{text(title)}</h1>",
        parts.facts(analysis.conditions),
        parts.section("In words", _words(reading(analysis))),
        parts.section(
            "Results", _legend(analysis), parts.table(results_table(analysis, interval=True)), parts.note(LEGEND)
        ),
        parts.section(
            _title_of_differences(analysis), parts.figures(_of(figures, "ap", "differences")), *_differences(analysis)
        ),
        parts.section("Over the training", parts.figures(panels), parts.note(BANDS if panels else "")),
        parts.section(
            "Whom the assigners served, and how steadily", parts.figures(seen), parts.note(SEEN if seen else "")
        ),
        parts.section("By size and by class", parts.figures(_of(figures, "sizes", "classes")), _classes(analysis)),
        parts.section("What it cost", parts.figures(_of(figures, "cost"))),
        parts.section("How the numbers were found", parts.listed(method(analysis))),
        parts.section("", parts.more("Every run and where it ran", runs_table(analysis))),
    ]
    return parts.document(title, body)


def _title(analysis: Analysis) -> str:
    rows = [entry.row for entry in analysis.entries]
    named = [
        ", ".join(dict.fromkeys(filter(None, several)))
        for several in ((r.detector for r in rows), (r.data for r in rows))
    ]
    return f"Comparison: {' on '.join(filter(None, named)) or 'assigners'}"


def _title_of_differences(analysis: Analysis) -> str:
    return f"AP, and differences to {baselines(analysis)}" if analysis.compared else "AP"


def _of(figures: Mapping[str, Sequence[tuple[str, str]]], *keys: str) -> list[tuple[str, str]]:
    """Titles and pictures, as far as they are there."""
    return [figure for key in keys for figure in figures.get(key, ())]


def _panel(panel: Panel) -> tuple[str, str]:
    """Title and picture."""
    return f"{panel.y} over {panel.x}{_behind(panel.title)}", svg.draw_panel(panel)


def _behind(title: str) -> str:
    return f": {title}" if title else ""


def _words(sections: Iterable[Section]) -> str:
    return "\n".join(f"<h3>{text(section.title)}</h3>\n{parts.listed(section.sentences)}" for section in sections)


def _legend(analysis: Analysis) -> str:
    """Every assigner with its colour and marker."""
    return f'<ul class="legend">{"".join(map(_key, legend(analysis).items()))}</ul>'


def _key(item: tuple[str, int]) -> str:
    name, color = item
    return f"<li>{svg.draw_key(color)}{text(name)}</li>"


def _differences(analysis: Analysis) -> list[str]:
    return [parts.table(differences_table(analysis)), parts.note(LEGEND_OF_DIFFERENCES)] if analysis.compared else []


def _classes(analysis: Analysis) -> str:
    return parts.more("AP of every class, in percent", class_table(analysis)) if analysis.classes else ""
