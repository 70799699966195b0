"""`detassign list`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from ..assigners import (
    ASSIGNERS,
    BOX_LOSSES,
    BRANCHES,
    COSTS,
    DENOISINGS,
    MATCHINGS,
    QUALITIES,
    SCORES,
    SOFT_TARGETS,
    WEIGHTINGS,
)
from ..assigners.plugins import load_plugins
from ..assigners.registry import unknown_name
from ..data import DATASETS
from ..data.files import json_text
from ..engine import fragments
from .common import import_option
from .tables import table

if TYPE_CHECKING:
    from ..engine.compatibility import Combination

COMPATIBILITY = "compatibility"


def _described(registry: Mapping[str, Callable[..., Any]]) -> dict[str, str]:
    """Name -> first paragraph of the docstring, on one line."""
    paragraphs = {name: (inspect.getdoc(entry) or "").split("\n\n")[0] for name, entry in registry.items()}
    return {name: " ".join(paragraph.split()) for name, paragraph in paragraphs.items()}


SECTIONS: dict[str, Callable[[], dict[str, str]]] = {
    "assigners": partial(_described, ASSIGNERS),
    "matchings": partial(_described, MATCHINGS),
    "costs": partial(_described, COSTS),
    "weightings": partial(_described, WEIGHTINGS),
    "scores": partial(_described, SCORES),
    "qualities": partial(_described, QUALITIES),
    "soft-targets": partial(_described, SOFT_TARGETS),
    "branches": partial(_described, BRANCHES),
    "box-losses": partial(_described, BOX_LOSSES),
    "denoisings": partial(_described, DENOISINGS),
    "detectors": partial(fragments.names, "detectors"),
    "datasets": lambda: {**DATASETS, "PATH": "any folder with train.json, val.json and images/"},
    "schedules": partial(fragments.names, "schedules"),
    "recipes": partial(fragments.names, "recipes"),
}


@click.command("list")
@click.argument("sections", nargs=-1, metavar="[SECTION]...")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@import_option
def command(sections: tuple[str, ...], as_json: bool, imports: tuple[str, ...]) -> None:
    """List what can be named: assigners and their parts, detectors, data sets, schedules, recipes; and what goes with what.

    SECTION is one of assigners, matchings, costs, weightings, scores, qualities, soft-targets, branches, box-losses,
    denoisings, detectors, datasets, schedules, recipes, compatibility; all of them if left out.

    \b
    detassign list matchings weightings
    detassign list compatibility
    detassign list assigners --import mine.py
    """
    from ..engine.imports import load_named

    load_named(imports)
    load_plugins()
    known = [*SECTIONS, COMPATIBILITY]
    for section in sections:
        if section not in known:
            raise ValueError(unknown_name("section", section, known))
    chosen = sections or known
    entries = {section: SECTIONS[section]() for section in chosen if section != COMPATIBILITY}
    combinations = _combinations() if COMPATIBILITY in chosen else []
    if as_json:
        listed = {COMPATIBILITY: [asdict(combination) for combination in combinations]} if combinations else {}
        click.echo(json_text({**entries, **listed}, indent=2))
        return
    for section, described in entries.items():
        table(["name", "what it is"], list(described.items()), title=section)
    if combinations:
        _show_compatibility(combinations)


def _combinations() -> list[Combination]:
    from ..engine.compatibility import compatibility  # imports mmdet

    return compatibility()


def _show_compatibility(combinations: Sequence[Combination]) -> None:
    from ..engine.compatibility import AXES, refusals

    for head in dict.fromkeys(combination.head for combination in combinations):
        served = [combination for combination in combinations if combination.head == head]
        weightings = list(dict.fromkeys(combination.weighting for combination in served))
        table(["matching", *weightings], _grid(served, weightings), title=f"{head}: score models that work")
    rows = [
        (refusal.head, *(_names(getattr(refusal, axis), axis, combinations) for axis in AXES), refusal.reason)
        for refusal in refusals(combinations)
    ]
    if rows:
        table(["head", *AXES, "reason"], rows, title="refused")


def _grid(combinations: Sequence[Combination], weightings: Sequence[str]) -> list[list[str]]:
    """A row per matching: its name, and per weighting the score models that work."""
    matchings = dict.fromkeys(combination.matching for combination in combinations)
    return [[matching, *(_cell(combinations, matching, name) for name in weightings)] for matching in matchings]


def _cell(combinations: Sequence[Combination], matching: str, weighting: str) -> str:
    here = [c for c in combinations if (c.matching, c.weighting) == (matching, weighting)]
    working = [combination.score for combination in here if combination.reason is None]
    return "all" if len(working) == len(here) else ", ".join(working) or "-"


def _names(names: Sequence[str], axis: str, combinations: Sequence[Combination]) -> str:
    everything = {getattr(combination, axis) for combination in combinations}
    return "any" if set(names) == everything else ", ".join(names)
