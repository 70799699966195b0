"""`detassign list`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from ..data import DATASETS
from ..data.files import json_text
from ..engine import fragments
from . import completion
from .common import import_option
from .tables import say, table

if TYPE_CHECKING:
    from ..engine.compatibility import Pair

MATRIX = "matrix"
NARROW = 5  # columns of names that a terminal of 80 shows side by side


def _described(registry: Mapping[str, Callable[..., Any]]) -> dict[str, str]:
    """Name -> first paragraph of the docstring, on one line."""
    paragraphs = {name: (inspect.getdoc(entry) or "").split("\n\n")[0] for name, entry in registry.items()}
    return {name: " ".join(paragraph.split()) for name, paragraph in paragraphs.items()}


def _registered(section: str) -> dict[str, str]:
    from .. import assigners  # needs torch, which completing a section does not wait for

    return _described(getattr(assigners, section.replace("-", "_").upper()))


def _extras() -> dict[str, str]:
    from .. import detectors  # noqa: F401 (which has them, and imports mmdet)

    return _registered("extras")


REGISTRIES = (
    "assigners",
    "matchings",
    "costs",
    "weightings",
    "scores",
    "qualities",
    "similarities",
    "soft-targets",
    "aggregators",
    "discounts",
    "branches",
    "box-losses",
    "denoisings",
)
SECTIONS: dict[str, Callable[[], dict[str, str]]] = {
    **{section: partial(_registered, section) for section in REGISTRIES},
    "extras": _extras,
    "schemes": partial(fragments.names, "schemes"),
    "detectors": partial(fragments.names, "detectors"),
    "datasets": lambda: {**DATASETS, "PATH": "any folder in COCO's, YOLO's or Pascal VOC's form"},
    "augmentations": partial(fragments.names, "augmentations"),
    "schedules": partial(fragments.names, "schedules"),
    "recipes": partial(fragments.names, "recipes"),
}


@click.command("list")
@click.argument("sections", nargs=-1, metavar="[SECTION]...", shell_complete=completion.among([*SECTIONS, MATRIX]))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@import_option
def command(sections: tuple[str, ...], as_json: bool, imports: tuple[str, ...]) -> None:
    """List what can be named: assigners and their parts, detectors, data sets, schedules, recipes; and what goes with what.

    SECTION is one of assigners, matchings, costs, weightings, scores, qualities, similarities, soft-targets, aggregators,
    discounts, branches, box-losses, denoisings, extras, schemes, detectors, datasets, augmentations, schedules, recipes,
    matrix; all of them if left out.

    \b
    detassign list matchings weightings
    detassign list matrix
    detassign list assigners --import mine.py
    """
    from ..assigners.plugins import load_plugins
    from ..assigners.registry import unknown_name
    from ..engine.imports import load_named

    load_named(imports)
    load_plugins()
    known = [*SECTIONS, MATRIX]
    for section in sections:
        if section not in known:
            raise ValueError(unknown_name("section", section, known))
    chosen = sections or known
    entries = {section: SECTIONS[section]() for section in chosen if section != MATRIX}
    matrix = _matrix() if MATRIX in chosen else {}
    if as_json:
        told = {title: [asdict(pair) for pair in pairs] for title, pairs in matrix.items()}
        click.echo(json_text({**entries, **({MATRIX: told} if told else {})}, indent=2))
        return
    for section, described in entries.items():
        if section == "detectors":
            for family, names in fragments.detectors_by_family().items():
                table(["name", "what it is"], [(name, described[name]) for name in names], title=f"detectors: {family}")
        else:
            table(["name", "what it is"], list(described.items()), title=section)
    for title, pairs in matrix.items():
        _show(title, pairs)


def _matrix() -> dict[str, list[Pair]]:
    """What goes with what, by title."""
    from ..engine import compatibility  # imports mmdet

    return {
        "matchings, and where they act": compatibility.matchings_on_places(),
        "weightings, and score models": compatibility.weightings_under_scores(),
        "matchings, and weightings": compatibility.matchings_with_weightings(),
    }


def _show(title: str, pairs: Sequence[Pair]) -> None:
    """A table of what goes with what where it is narrow, and a line for everything that does not."""
    from ..engine.compatibility import grid

    rows = grid(pairs)
    columns = list(next(iter(rows.values())))
    if len(columns) <= NARROW:
        cells = [[name, *("yes" if row[c].reason is None else "-" for c in columns)] for name, row in rows.items()]
        table(["", *columns], cells, title=title)
    else:
        say(f"{title}: all go together" + (", but for" if any(pair.reason for pair in pairs) else ""))
    for name, row in rows.items():
        for reason, instead in dict.fromkeys((pair.reason, pair.instead) for pair in row.values() if pair.reason):
            refused = [pair.second for pair in row.values() if pair.reason == reason]
            works = f"works: {', '.join(instead)}" if instead else "nothing works"
            say(f"  {name} with {', '.join(refused)}: {reason}; {works}")
