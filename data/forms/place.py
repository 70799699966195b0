"""Where a split of a data set lies, and what a form reads there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from ..report import Finding
from ..table import Table

__all__ = ["ALIASES", "SPLITS", "Document", "Place", "counted", "distinct", "named_pictures", "other_areas", "split_of"]

ALIASES = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test", "testing")}
SPLITS = tuple(ALIASES)


class Place(NamedTuple):
    """Where a split lies.

    Attributes:
        form: a name of `FORMS`.
        split: "train", "val" or "test".
        annotations: the file, or the folder of files, that the form reads them from.
        images: the folder that file names are relative to.
    """

    form: str
    split: str
    annotations: Path
    images: Path


class Document(NamedTuple):
    """A split as COCO's document.

    Attributes:
        content: parsed JSON, or what a form made to look like it.
        where: what to call it in a message.
        origins: where each annotation was read, file and line; empty where the document's own ids tell.
        findings: what was wrong with files that are no JSON.
    """

    content: Any
    where: str
    origins: Sequence[str] = ()
    findings: Sequence[Finding] = ()


def split_of(name: str) -> str | None:
    """The split that a folder or a file is named after.

    >>> split_of("valid"), split_of("train2017"), split_of("trainval")
    ('val', 'train', None)
    """
    plain = name.lower().rstrip("0123456789")
    return next((split for split, names in ALIASES.items() if plain in names), None)


def named_pictures(sizes: Sequence[tuple[str, int, int]]) -> list[dict[str, Any]]:
    """COCO's entries of pictures (name, width, height), numbered from 1."""
    return [
        {"id": number, "file_name": name, "width": width, "height": height}
        for number, (name, width, height) in enumerate(sizes, 1)
    ]


def other_areas(table: Table) -> int:
    """How many areas are not those of their boxes but for rounding, which forms without areas cannot hold."""
    of_boxes = table.boxes[:, 2:].prod(1)
    return int((~np.isclose(table.areas, of_boxes, rtol=0.01)).sum())


def counted(number: int, what: str) -> list[str]:
    """A phrase, where there is something to count."""
    return [f"{number} {what}"] if number else []


def distinct(names: Iterable[str], taken: set[str]) -> list[str]:
    """Names that differ without their suffixes, from each other and from those `taken`, which grow.

    >>> distinct(["a.jpg", "a.png", "x/a.jpg"], set())
    ['a.jpg', 'a-2.png', 'x/a.jpg']
    """
    found = []
    for name in names:
        path, number = PurePosixPath(name), 1
        chosen = path
        while str(chosen.with_suffix("")) in taken:
            number += 1
            chosen = path.with_name(f"{path.stem}-{number}{path.suffix}")
        taken.add(str(chosen.with_suffix("")))
        found.append(str(chosen))
    return found
