"""A data set's splits in memory, apart from where they lie: to be written in another form, or divided anew."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from .categories import parse_categories
from .files import new_folder, written_aside
from .forms import FORMS
from .forms.place import Place, distinct
from .reader import read_annotations, read_document
from .table import Table, read_table

__all__ = ["Part", "Written", "part_of", "together", "write_parts"]


@dataclass(frozen=True)
class Part:
    """One split.

    Attributes:
        content: a document of COCO's form, with whatever its entries hold besides.
        files: where each picture lies.
        names: what to call each one, with folders, no two alike but for their suffixes.
    """

    content: dict[str, Any]
    files: Sequence[Path]
    names: Sequence[str]

    @property
    def table(self) -> Table:
        """What is learnt and measured of it."""
        return read_table(self.content, parse_categories(self.content), "")[0].cleaned()


class Written(NamedTuple):
    """What was written: pictures and objects of each split, and what the form could not hold."""

    counts: dict[str, tuple[int, int]]
    lost: list[str]


def part_of(place: Place) -> Part:
    """A split as it lies there.

    Raises:
        ValueError, OSError: for annotations that cannot be read or forbid training.
    """
    document, table = read_document(place), read_annotations(place).table
    names = distinct(_below_their_folder(table.file_names), set())
    return Part(document.content, [place.images / name for name in table.file_names], names)


def together(parts: Iterable[Part]) -> Part:
    """All splits as one; pictures and annotations are numbered anew, from 1.

    Raises:
        ValueError: when their categories differ.
    """
    parts, taken = list(parts), set()
    images, annotations, files, names = [], [], [], []
    for part in parts:
        if parse_categories(part.content) != parse_categories(parts[0].content):
            raise ValueError("data: the splits have other categories; see 'detassign data check'")
        number = {image["id"]: len(images) + place for place, image in enumerate(part.content["images"], 1)}
        images += [{**image, "id": number[image["id"]]} for image in part.content["images"]]
        annotations += [{**entry, "image_id": number[entry["image_id"]]} for entry in part.content["annotations"]]
        files += part.files
        names += distinct(part.names, taken)
    annotations = [{**entry, "id": place} for place, entry in enumerate(annotations, 1)]
    return Part({**parts[0].content, "images": images, "annotations": annotations}, files, names)


def write_parts(
    parts: Mapping[str, Part], form: str, directory: Path, progress: Callable[[int, int], None] | None = None
) -> Written:
    """Write a data set in a form, pictures included; an interruption leaves nothing half-written.

    Args:
        parts: by split.
        form: a name of `FORMS`.
        directory: a new or empty folder.
        progress: called with (pictures copied, pictures in all).

    Raises:
        FileExistsError: when `directory` holds anything.
        FileNotFoundError: when a picture is missing.
    """
    total, done = sum(len(part.files) for part in parts.values()), 0
    with written_aside(new_folder(directory)) as aside:
        places, lost = FORMS[form].write(parts, aside)
        for split, part in parts.items():
            for file, target in zip(part.files, places[split], strict=True):
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, target)
                done += 1
                if progress:
                    progress(done, total)
    counts = {split: (len(part.files), int((~part.table.crowd).sum())) for split, part in parts.items()}
    return Written(counts, lost)


def _below_their_folder(names: Sequence[str]) -> list[str]:
    """Names below the innermost folder that all of them share.

    >>> _below_their_folder(["images/train/a.jpg", "images/train/x/b.jpg"])
    ['a.jpg', 'x/b.jpg']
    """
    common = os.path.commonpath([os.path.dirname(name) for name in names])
    return [PurePosixPath(os.path.relpath(name, common or ".")).as_posix() for name in names]
