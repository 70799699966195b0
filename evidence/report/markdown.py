"""The report as Markdown: tables, the reading, the conditions."""

from __future__ import annotations

from ..words import printable
from .analysis import Analysis
from .reading import method, reading
from .tables import LEGEND, LEGEND_OF_DIFFERENCES, Table, baselines, class_table, differences_table, results_table

__all__ = ["escaped", "markdown"]

SPECIAL = "\\`*[]<>|~$"


def markdown(analysis: Analysis) -> str:
    """The whole report but its charts."""
    parts = [_table(results_table(analysis, interval=True)), _conditions(analysis), escaped(LEGEND)]
    for section in reading(analysis):
        parts += [f"## {escaped(section.title)}", "\n".join(f"- {escaped(each)}" for each in section.sentences)]
    if analysis.compared:
        parts += [f"## Differences to {escaped(baselines(analysis))}", _table(differences_table(analysis))]
        parts.append(escaped(LEGEND_OF_DIFFERENCES))
    if analysis.classes:
        parts += ["## AP by class, in percent", _table(class_table(analysis))]
    parts += ["## How the numbers were found", "\n".join(f"- {escaped(each)}" for each in method(analysis))]
    return "\n\n".join(part for part in parts if part) + "\n"


def escaped(text: str) -> str:
    r"""Anybody's text as Markdown's: in one line, nothing of it is markup, and underscores inside words stay as they are.

    >>> escaped("quality_focal <b> a|b")
    'quality_focal \\<b\\> a\\|b'
    """
    line = " ".join(printable(text).split()).replace("&", "&amp;")
    signs = [f"\\{sign}" if sign in SPECIAL or _outer(line, index) else sign for index, sign in enumerate(line)]
    return "".join(signs)


def _outer(line: str, index: int) -> bool:
    """Whether an underscore is at the edge of a word, where it would begin or end emphasis."""
    inner = 0 < index < len(line) - 1 and line[index - 1].isalnum() and line[index + 1].isalnum()
    return line[index] == "_" and not inner


def _table(table: Table) -> str:
    lines = [table.headings, ["---", *["--:"] * (len(table.headings) - 1)]]
    texts = [
        [escaped(heading) for heading in lines[0]],
        lines[1],
        *([escaped(cell) for cell in row] for row in table.rows),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in texts)


def _conditions(analysis: Analysis) -> str:
    return escaped("; ".join(f"{name} {value}" for name, value in analysis.conditions.items()))
