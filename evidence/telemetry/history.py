"""What the objects of a few images were learnt by, epoch after epoch: the file `telemetry.json` of a run's folder.

A JSON object with

    format       1
    classes      names by label
    levels       names of a pyramid's levels (strides); empty for queries
    images       a list of {"id", "file", "index", "objects"}: id and file name in the annotations, index in the training split,
                 and for each object that is learnt, in the annotations' order, {"label", "box", "size"}: box xywh in pixels of
                 the stored image, size small, medium or large
    epochs       the epochs after which was looked, rising
    columns      by name a list per epoch with a number for every object, image after image:
                   samples   how many learn it (w⁺ > 0)
                   weight    the sum of their w⁺
                   moved     share of w⁺ that is with other samples than at the look before; null where there is none to compare
                   without   looks in a row, this one included, at which no sample learnt it
                   best      the sample or query with the largest w⁺, -1 for none, and of that one
                   level     its level, an index into `levels`, or 0
                   score     its score for the object's class, as inference ranks it
                   iou       of its predicted box with the object's

All are of the output that detects: the last decoder layer, where there are some. Numbers have five digits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from ...data.files import read_json

__all__ = ["COLUMNS", "FORMAT", "HISTORY", "History", "read_history"]

HISTORY = "telemetry.json"  # in a run's folder
FORMAT = 1
COLUMNS = ("samples", "weight", "moved", "without", "best", "level", "score", "iou")
LARGEST = 2**28  # bytes of a file


@dataclass(frozen=True)
class History:
    """The content of the file; see the module."""

    classes: Sequence[str]
    levels: Sequence[str]
    images: Sequence[Mapping[str, Any]]
    epochs: Sequence[int]
    columns: Mapping[str, Sequence[Sequence[float | None]]]

    def find(self, image: int | str) -> int:
        """The place among `images` of one given by its index in the training split or its file name.

        Raises:
            ValueError: when it was not followed, with those that were.
        """
        for place, each in enumerate(self.images):
            if image in (each["index"], each["file"]) or str(image) == str(each["index"]):
                return place
        followed = ", ".join(str(each["index"]) for each in self.images)
        raise ValueError(f"image {image}: telemetry did not follow it; it followed the training images {followed}")

    def of(self, image: int | str, target: int) -> list[dict[str, Any]]:
        """An entry for every look at an object: its epoch, and the columns by name, `level` as its name.

        Args:
            image: index in the training split, or file name.
            target: the object's place in the image.

        Raises:
            ValueError: when the image was not followed or has no such object.
        """
        place = self.find(image)
        count = len(self.images[place]["objects"])
        if not 0 <= target < count:
            raise ValueError(f"object {target}: expected one below {count}, the number of objects of image {image}")
        row = [0, *accumulate(len(each["objects"]) for each in self.images)][place] + target
        return [
            {"epoch": epoch, **self._named({name: self.columns[name][look][row] for name in COLUMNS})}
            for look, epoch in enumerate(self.epochs)
        ]

    def _named(self, values: dict[str, Any]) -> dict[str, Any]:
        level = self.levels[values["level"]] if self.levels and values["samples"] else None
        return {**values, "level": level}

    def to_dict(self) -> dict[str, Any]:
        """What the file holds."""
        columns = {name: [list(map(_short, look)) for look in self.columns[name]] for name in COLUMNS}
        return {
            "format": FORMAT,
            "classes": list(self.classes),
            "levels": list(self.levels),
            "images": list(self.images),
            "epochs": list(self.epochs),
            "columns": columns,
        }


def read_history(path: Path) -> History:
    """The history of a run, checked.

    Args:
        path: of the file, or of the run's folder.

    Raises:
        FileNotFoundError: when there is none: the run had no --telemetry, or no epoch is over.
        ValueError: when the file is not of this form.
    """
    path = path / HISTORY if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; a run leaves it after an epoch with --telemetry")
    content = read_json(path, LARGEST)
    wrong = _problem(content)
    if wrong:
        raise ValueError(f"{path}: {wrong}; expected what a run with --telemetry writes")
    return History(*(content[name] for name in ("classes", "levels", "images", "epochs", "columns")))


def _problem(content: Any) -> str | None:
    """What is wrong with the content of a file."""
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        return f"its format is not {FORMAT}"
    lists = ("classes", "levels", "images", "epochs")
    missing = [name for name in lists if not isinstance(content.get(name), list)]
    if missing:
        return f"{missing[0]} is no list"
    if not all(map(_is_image, content["images"])):
        return "an image lacks id, file, index or objects"
    if not all(isinstance(epoch, int) for epoch in content["epochs"]):
        return "an epoch is no whole number"
    shape = len(content["epochs"]), sum(len(image["objects"]) for image in content["images"])
    columns = content.get("columns")
    for name in COLUMNS:
        if not _is_table(columns.get(name) if isinstance(columns, dict) else None, *shape):
            return (
                f"the column {name} does not have a number for each of {shape[1]} objects at each of {shape[0]} looks"
            )
    levels = range(max(len(content["levels"]), 1))
    if any(level not in levels for look in columns["level"] for level in look):
        return "a level is none of those named"
    return None


def _is_image(image: Any) -> bool:
    keys = {"id", "file", "index", "objects"}
    return isinstance(image, dict) and image.keys() >= keys and isinstance(image["objects"], list)


def _is_table(rows: Any, looks: int, objects: int) -> bool:
    return (
        isinstance(rows, list)
        and len(rows) == looks
        and all(isinstance(row, list) and len(row) == objects and all(map(_is_number, row)) for row in rows)
    )


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _short(value: float | None) -> float | int | None:
    """Five digits of a number; None where it is none."""
    if value is None or not math.isfinite(value):
        return None
    return int(value) if float(value).is_integer() else float(f"{value:.5g}")
