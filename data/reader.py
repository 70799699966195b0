"""The one reader of annotations: training, evaluation, inspection and checks see the same document, whatever form it has."""

from __future__ import annotations

import os
import time
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from .categories import parse_categories
from .files import LARGEST_JSON, collector_paused
from .forms import FORMS, Document, Place
from .report import Finding, refuse
from .rules import RULES
from .table import Table, read_table

if TYPE_CHECKING:
    from .sources import DataSource

__all__ = ["Annotations", "load_split", "read_annotations", "read_document"]

SETTLED = 2 * 10**9  # nanoseconds: a file that changed later than so long ago may change again unnoticed


class Annotations(NamedTuple):
    """The annotations of a split as columns, None where nothing can be read of them, and what is wrong with them."""

    table: Table | None
    findings: tuple[Finding, ...]


def read_annotations(path: str | Path | Place, largest: int = LARGEST_JSON) -> Annotations:
    """Read and check the annotations of a split, or a COCO file; nothing is raised.

    What was read last is kept, so files are parsed once. Files of more than `largest` bytes in all are not read.
    """
    place = path if isinstance(path, Place) else Place("coco", Path(path).stem, Path(path), Path(path).parent)
    try:
        states = [os.stat(file) for file in FORMS[place.form].files(place)]
    except (OSError, ValueError):
        return _read(place)
    size = sum(state.st_size for state in states)
    if size > largest:
        text = f"{place.annotations} has {size} bytes, more than the {largest} that are read"
        return Annotations(None, (Finding("error", "unreadable-file", place.annotations.name, text),))
    if time.time_ns() - max(state.st_mtime_ns for state in states) < SETTLED:
        return _read(place)
    return _kept(place, hash(tuple((state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns) for state in states)))


def read_document(place: Place) -> Document:
    """A split in COCO's terms, as it lies there, uncleaned.

    Raises:
        ValueError, OSError: for annotations that cannot be read or forbid training.
    """
    refuse(read_annotations(place).findings)
    return FORMS[place.form].read(place)


def load_split(source: DataSource, split: str) -> Table:
    """What is learnt and measured of a split, "train", "val" or "test".

    Raises:
        ValueError: with the first fault that forbids it, when its categories are not those of `source`, or when there is none.
    """
    place = source.place(split)
    table, findings = read_annotations(place)
    refuse(findings)
    if tuple(table.classes.items()) != tuple(zip(source.category_ids, source.classes, strict=True)):
        raise ValueError(
            f"data: the categories of {place.annotations} are no longer those that were read from it before"
        )
    return table.cleaned()


@lru_cache(maxsize=4)
def _kept(place: Place, state: int) -> Annotations:
    return _read(place)


@collector_paused()
def _read(place: Place) -> Annotations:
    where = place.annotations.name
    try:
        document = FORMS[place.form].read(place)
    except FileNotFoundError as error:
        return Annotations(None, (Finding("error", "missing-file", where, str(error)),))
    except (OSError, ValueError) as error:
        return Annotations(None, (Finding("error", "unreadable-file", where, str(error)),))
    try:
        classes = parse_categories(document.content)
    except ValueError as error:
        return Annotations(None, (*document.findings, Finding("error", "bad-categories", document.where, str(error))))
    table, findings = read_table(document.content, classes, document.where, document.origins)
    rules = (found for rule in RULES for found in rule(table))
    order = _order(document.content, document.where)
    return Annotations(table, (*document.findings, *findings, *order, *rules))


def _order(document: dict[str, Any], where: str) -> list[Finding]:
    """A remark where labels do not follow the list of categories."""
    listed = [category["id"] for category in document["categories"]]
    text = "categories are not listed by ascending id, yet labels are numbered that way"
    return [] if listed == sorted(listed) else [Finding("info", "category-order", where, text)]
