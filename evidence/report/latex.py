"""The tables of a report for a paper: LaTeX to \\input, with booktabs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..words import printable
from .analysis import Analysis
from .reading import method
from .tables import (
    COST,
    LEGEND,
    LEGEND_OF_DIFFERENCES,
    QUALITY,
    Table,
    baselines,
    class_table,
    differences_table,
    results_table,
)

__all__ = ["escaped", "latex"]

SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "±": r"$\pm$",
    "²": r"\textsuperscript{2}",
    "−": r"$-$",
    "·": r"\textperiodcentered{}",
    "`": r"\textasciigrave{}",
}
"""Signs that mean something else to LaTeX, or that its usual fonts lack."""
LATIN = 0x17F  # the last letter that pdflatex knows without more packages
FEW = 8  # rows up to which AP by class is a table that fits a page
HEAD = "% \\usepackage{booktabs}"
SCRIPTS = "% Names below have letters beyond Latin: compile with XeLaTeX or LuaLaTeX and a font that has them."


def latex(analysis: Analysis) -> str:
    """Tables of results, differences, cost and classes, with captions; how numbers were found stands in comments."""
    told = _conditions(analysis.conditions)
    tables = [
        _table(
            results_table(analysis, QUALITY, interval=True),
            "results",
            ["AP in percent, ± standard deviation over seeds.", told],
        )
    ]
    if analysis.compared:
        caption = [f"Differences in AP to {baselines(analysis)}.", LEGEND_OF_DIFFERENCES]
        tables.append(_table(differences_table(analysis), "differences", caption))
    tables.append(_table(results_table(analysis, COST), "cost", [LEGEND]))
    if analysis.classes and len(analysis.entries) <= FEW:
        tables.append(_table(class_table(analysis), "classes", ["AP by class, in percent."]))
    body = "\n".join(tables)
    others = any(ord(sign) > LATIN for sign in body)
    remarks = [f"% {escaped(sentence)}" for sentence in method(analysis)]
    return "\n".join([HEAD, *([SCRIPTS] if others else []), *remarks, body])


def escaped(text: str) -> str:
    r"""Anybody's text as LaTeX's: in one line, nothing of it is a command.

    >>> escaped("50 % of a_b {c} & <d>")
    '50 \\% of a\\_b \\{c\\} \\& \\textless{}d\\textgreater{}'
    """
    return "".join(SPECIAL.get(sign, sign) for sign in " ".join(printable(text).split()))


def _table(table: Table, name: str, caption: Sequence[str]) -> str:
    heads = " & ".join(map(escaped, table.headings))
    rows = "\n".join(f"    {' & '.join(map(_cell, row))} \\\\" for row in table.rows)
    words = " ".join(escaped(sentence) for sentence in caption if sentence)
    return f"""\\begin{{table}}
  \\centering
  \\caption{{{words}}}
  \\label{{tab:{name}}}
  \\begin{{tabular}}{{l{"r" * (len(table.headings) - 1)}}}
    \\toprule
    {heads} \\\\
    \\midrule
{rows}
    \\bottomrule
  \\end{{tabular}}
\\end{{table}}
"""


def _cell(text: str) -> str:
    """A number's minus is longer than a hyphen; brackets that open a cell would be an argument of the row before."""
    shown = escaped(text)
    if shown[:1] == "-" and shown[1:2].isdigit():
        return f"${shown}$"
    return f"{{{shown}}}" if shown.startswith("[") else shown


def _conditions(conditions: Mapping[str, Any]) -> str:
    return "; ".join(f"{name} {value}" for name, value in conditions.items()) + "." if conditions else ""
