"""Tab completion of what can be named. A shell waits for it, so names are read off files; neither torch nor mmdet is imported.

What a user's own files or plugins register is not among them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from glob import escape, iglob
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from ..data import DATASETS
from ..engine import fragments

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]
REGISTERED = re.compile(r'^@(\w+)\.register\("(\w+)"\)', re.MULTILINE)
FOLDERS = ("assigners", "detectors")  # where something is registered
_ROOT = Path(__file__).resolve().parent.parent


def registered() -> dict[str, list[str]]:
    """The names in every registry, by the registry's own name, as the source has them."""
    found: dict[str, list[str]] = {}
    for folder in FOLDERS:
        for file in sorted((_ROOT / folder).rglob("*.py")):
            for registry, name in REGISTERED.findall(file.read_text(encoding="utf-8")):
                found.setdefault(registry, []).append(name)
    return {registry: sorted(names) for registry, names in found.items()}


def _fitting(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    """The names that go on from the last of those joined by + or commas."""
    begun = re.match(r"(.*[+,])?(.*)", incomplete, re.DOTALL)
    before, last = begun[1] or "", begun[2]
    return [CompletionItem(before + name) for name in dict.fromkeys(names) if name.startswith(last)]


def fragment(kind: str) -> Completer:
    """Names of config fragments: "detectors", "schedules", "schemes", "augmentations" or "recipes"."""
    return lambda context, parameter, incomplete: _fitting(fragments.stems(kind), incomplete)


def among(names: Sequence[str]) -> Completer:
    """These names."""
    return lambda context, parameter, incomplete: _fitting(names, incomplete)


def of_registry(*registries: str, more: Iterable[str] = ()) -> Completer:
    """Names in registries, `MATCHINGS` and the like, and others."""

    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        known = registered()
        return _fitting([*more, *(name for registry in registries for name in known[registry])], incomplete)

    return complete


def assigner(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """A whole assigner or a matching first, then its weighting, then its score model."""
    known, parts = registered(), incomplete.rpartition(",")[2].count("+")
    places = ("ASSIGNERS", "MATCHINGS"), ("WEIGHTINGS",), ("SCORES",)
    return _fitting([name for registry in places[min(parts, 2)] for name in known[registry]], incomplete)


detectors, schedules, schemes = (fragment(kind) for kind in ("detectors", "schedules", "schemes"))
recipes = fragment("recipes")
augmentations = fragment("augmentations")
extras = of_registry("EXTRAS")
denoisings = of_registry("DENOISINGS", more=["none"])


def data(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """A data set by name, or a folder."""
    return [CompletionItem(incomplete, type="dir"), *_fitting(DATASETS, incomplete)]


def run(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """A run's folder below the one that is begun with, or below runs/; or any file."""
    patterns = f"{escape(incomplete)}*/config.json", f"runs/{escape(incomplete)}*/config.json"
    runs = sorted({str(Path(file).parent) for pattern in patterns for file in iglob(pattern)})
    return [CompletionItem(incomplete, type="file"), *map(CompletionItem, runs)]


def config(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """A recipe, or a file."""
    return [CompletionItem(incomplete, type="file"), *recipes(context, parameter, incomplete)]
