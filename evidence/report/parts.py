"""What the pages of reports are made of: tables, figures, sections, and the document around them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .style import STYLE
from .svg import text
from .tables import Table

__all__ = ["document", "facts", "figures", "listed", "more", "note", "section", "table"]

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def document(title: str, body: Iterable[str]) -> str:
    """A whole HTML document that asks no address for anything; empty parts of its body are left out."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{text(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(part for part in body if part)
        + "\n</main>\n</body>\n</html>\n"
    )


def facts(conditions: Mapping[str, Any]) -> str:
    """Names and values in a line."""
    terms = "".join(
        f"<div><dt>{text(str(key))}</dt><dd>{text(str(value))}</dd></div>" for key, value in conditions.items()
    )
    return f'<dl class="facts">{terms}</dl>' if terms else ""


def section(title: str, *parts: str) -> str:
    """A heading and what is under it; nothing where that is nothing."""
    inside = "\n".join(part for part in parts if part)
    heading = f"<h2>{text(title)}</h2>\n" if title else ""
    return f"<section>\n{heading}{inside}\n</section>" if inside else ""


def listed(sentences: Iterable[str]) -> str:
    """Sentences as a list."""
    return f"<ul>{''.join(f'<li>{text(sentence)}</li>' for sentence in sentences)}</ul>"


def table(content: Table) -> str:
    """Wider than the page it scrolls inside its own frame, the first column staying."""
    heads = "".join(f'<th scope="col">{text(heading)}</th>' for heading in content.headings)
    rows = "".join(_row(row) for row in content.rows)
    return f'<div class="scroll" tabindex="0"><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'


def _row(row: Sequence[str]) -> str:
    name, *cells = row
    return f'<tr><th scope="row">{text(name)}</th>{"".join(f"<td>{text(cell)}</td>" for cell in cells)}</tr>'


def note(content: str) -> str:
    """What explains a table or a figure."""
    return f'<p class="note">{text(content)}</p>' if content else ""


def figures(drawn: Iterable[tuple[str, str]]) -> str:
    """Titles and pictures, as many beside each other as there is room for."""
    shown = "".join(f"<figure><figcaption>{text(title)}</figcaption>{picture}</figure>" for title, picture in drawn)
    return f'<div class="figures">{shown}</div>' if shown else ""


def more(title: str, content: Table) -> str:
    """A table behind its title."""
    return f"<details><summary>{text(title)}</summary>{table(content)}</details>"
