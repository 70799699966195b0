"""The one reader of annotation files: training, evaluation, inspection and checks see the same document."""

from __future__ import annotations

import os
import time
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from .categories import parse_categories
from .files import LARGEST_JSON, collector_paused, read_json
from .report import Finding, refuse
from .rules import RULES
from .table import Table, read_table

if TYPE_CHECKING:
    from .coco import DataSource

__all__ = ["Annotations", "load_split", "read_annotations"]

SETTLED = 2 * 10**9  # nanoseconds: a file that changed later than so long ago may change again unnoticed


class Annotations(NamedTuple):
    """An annotation file as columns, None where nothing can be read of it, and what is wrong with it."""

    table: Table | None
    findings: tuple[Finding, ...]


def read_annotations(path: str | Path, largest: int = LARGEST_JSON) -> Annotations:
    """Read and check an annotation file; nothing is raised. What was read last is kept, so a file is parsed once.

    Files of more than `largest` bytes are not read.
    """
    try:
        state = os.stat(path)
    except (OSError, ValueError):
        return _read(Path(path), largest)
    if time.time_ns() - state.st_mtime_ns < SETTLED:
        return _read(Path(path), largest)
    return _kept(Path(path), largest, (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns))


def load_split(source: DataSource, split: str) -> Table:
    """What is learnt and measured of a split, "train" or "val".

    Raises:
        ValueError: with the first fault that forbids it, or when its categories are not those of `source`.
    """
    path = getattr(source, f"{split}_annotations")
    table, findings = read_annotations(path)
    refuse(findings)
    if tuple(table.classes.items()) != tuple(zip(source.category_ids, source.classes, strict=True)):
        raise ValueError(f"data: the categories of {path} are no longer those that were read from it before")
    return table.cleaned()


@lru_cache(maxsize=4)
def _kept(path: Path, largest: int, state: tuple[int, ...]) -> Annotations:
    return _read(path, largest)


@collector_paused()
def _read(path: Path, largest: int) -> Annotations:
    where = path.name
    try:
        document = read_json(path, largest)
    except FileNotFoundError as error:
        return Annotations(None, (Finding("error", "missing-file", where, str(error)),))
    except (OSError, ValueError) as error:
        return Annotations(None, (Finding("error", "unreadable-json", where, str(error)),))
    try:
        classes = parse_categories(document)
    except ValueError as error:
        return Annotations(None, (Finding("error", "bad-categories", where, str(error)),))
    table, findings = read_table(document, classes, where)
    rules = (found for rule in RULES for found in rule(table))
    return Annotations(table, (*findings, *_order(document, where), *rules))


def _order(document: dict[str, Any], where: str) -> list[Finding]:
    """A remark where labels do not follow the list of categories."""
    listed = [category["id"] for category in document["categories"]]
    text = "categories are not listed by ascending id, yet labels are numbered that way"
    return [] if listed == sorted(listed) else [Finding("info", "category-order", where, text)]
