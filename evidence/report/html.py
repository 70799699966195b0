"""The report as one page that needs nothing else: no script, no font, no address is asked for anything."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from . import svg
from .analysis import Analysis
from .looks import looks
from .reading import Section, method, reading
from .style import STYLE
from .svg import text
from .tables import (
    LEGEND,
    LEGEND_OF_DIFFERENCES,
    Table,
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
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def page(analysis: Analysis) -> str:
    """A whole HTML document."""
    title = _title(analysis)
    figures = {key: [(one.title, svg.draw_chart(one)) for one in several] for key, several in charts(analysis).items()}
    panels, seen = ([_panel(panel) for panel in several] for several in (curves(analysis), looks(analysis)))
    body = [
        f"<h1>{text(title)}</h1>",
        _facts(analysis.conditions),
        _section("In words", _words(reading(analysis))),
        _section("Results", _legend(analysis), _table(results_table(analysis, interval=True)), _note(LEGEND)),
        _section(_title_of_differences(analysis), _figures(_of(figures, "ap", "differences")), *_differences(analysis)),
        _section("Over the training", _figures(panels), _note(BANDS if panels else "")),
        _section("Whom the assigners served, and how steadily", _figures(seen), _note(SEEN if seen else "")),
        _section("By size and by class", _figures(_of(figures, "sizes", "classes")), _classes(analysis)),
        _section("What it cost", _figures(_of(figures, "cost"))),
        _section("How the numbers were found", _list(method(analysis))),
        _section("", _more("Every run and where it ran", runs_table(analysis))),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{text(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(part for part in body if part)
        + "\n</main>\n</body>\n</html>\n"
    )


def _title(analysis: Analysis) -> str:
    rows = [entry.row for entry in analysis.entries]
    named = [
        ", ".join(dict.fromkeys(filter(None, parts))) for parts in ((r.detector for r in rows), (r.data for r in rows))
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


def _facts(conditions: Mapping[str, Any]) -> str:
    terms = "".join(
        f"<div><dt>{text(str(key))}</dt><dd>{text(str(value))}</dd></div>" for key, value in conditions.items()
    )
    return f'<dl class="facts">{terms}</dl>' if terms else ""


def _section(title: str, *parts: str) -> str:
    inside = "\n".join(part for part in parts if part)
    heading = f"<h2>{text(title)}</h2>\n" if title else ""
    return f"<section>\n{heading}{inside}\n</section>" if inside else ""


def _words(sections: Iterable[Section]) -> str:
    return "\n".join(f"<h3>{text(section.title)}</h3>\n{_list(section.sentences)}" for section in sections)


def _list(sentences: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{text(sentence)}</li>' for sentence in sentences)}</ul>"


def _legend(analysis: Analysis) -> str:
    """Every assigner with its colour and marker."""
    return f'<ul class="legend">{"".join(map(_key, legend(analysis).items()))}</ul>'


def _key(item: tuple[str, int]) -> str:
    name, color = item
    return f"<li>{svg.draw_key(color)}{text(name)}</li>"


def _table(table: Table) -> str:
    """Wider than the page it scrolls inside its own frame, the first column staying."""
    heads = "".join(f'<th scope="col">{text(heading)}</th>' for heading in table.headings)
    rows = "".join(_row(row) for row in table.rows)
    return f'<div class="scroll" tabindex="0"><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'


def _row(row: Sequence[str]) -> str:
    name, *cells = row
    return f'<tr><th scope="row">{text(name)}</th>{"".join(f"<td>{text(cell)}</td>" for cell in cells)}</tr>'


def _note(content: str) -> str:
    return f'<p class="note">{text(content)}</p>' if content else ""


def _figures(drawn: Iterable[tuple[str, str]]) -> str:
    shown = "".join(f"<figure><figcaption>{text(title)}</figcaption>{picture}</figure>" for title, picture in drawn)
    return f'<div class="figures">{shown}</div>' if shown else ""


def _differences(analysis: Analysis) -> list[str]:
    return [_table(differences_table(analysis)), _note(LEGEND_OF_DIFFERENCES)] if analysis.compared else []


def _classes(analysis: Analysis) -> str:
    return _more("AP of every class, in percent", class_table(analysis)) if analysis.classes else ""


def _more(title: str, table: Table) -> str:
    return f"<details><summary>{text(title)}</summary>{_table(table)}</details>"
