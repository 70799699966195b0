"""Annotations in COCO's terms as columns, so that rules, statistics and loading are array expressions.

Entries that lack a key or hold a value of the wrong kind are reported and left out of the columns. What nothing is lost
by is filled in with a remark: 'iscrowd' with 0, 'area' with width times height, an annotation's id with its place.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from .categories import is_whole
from .report import Finding, finding

__all__ = ["Table", "read_table"]

_LARGEST = 1e9  # pixels
_TOLERANCE = 0.5  # pixels; tools round corners and sizes separately
_SMALLEST = 1.0  # pixels of a side, inside the image


@dataclass(frozen=True, eq=False)
class Table:
    """Columns of the annotations of one split: I images, A annotations."""

    where: str  # name of the file, for messages
    classes: dict[int, str]  # names by category id
    image_ids: np.ndarray  # (I,)
    file_names: list[str]  # I
    image_sizes: np.ndarray  # (I, 2) width, height
    ids: np.ndarray  # (A,) 0 where the file gives no whole number
    places: np.ndarray  # (A,) in the file's list
    owners: np.ndarray  # (A,) index into the images, -1 for an image that is not listed
    labels: np.ndarray  # (A,) place of the category id in ascending order, -1 for one that is not listed
    boxes: np.ndarray  # (A, 4) x, y, width, height, pixels
    areas: np.ndarray  # (A,) above 0 where the box is sound
    crowd: np.ndarray  # (A,) bool: regions that are neither learnt nor counted as misses
    origins: Sequence[str] = ()  # file and line of each annotation of the list; empty where ids tell

    @cached_property
    def inside(self) -> np.ndarray:
        """(A, 4) the part of each box inside its image; width or height are not above 0 when it lies beyond.

        The image of an annotation whose own is not listed counts as infinite.
        """
        sizes = np.vstack([self.image_sizes, [np.inf, np.inf]])[self.owners]
        with np.errstate(over="ignore", invalid="ignore"):
            low = np.maximum(self.boxes[:, :2], 0)
            return np.hstack([low, np.minimum(self.boxes[:, :2] + self.boxes[:, 2:], sizes) - low])

    @cached_property
    def measurable(self) -> np.ndarray:
        """(A,) whether all numbers of a box are finite and of a size that pixels can have."""
        return (np.abs(self.boxes) < _LARGEST).all(1)

    @cached_property
    def empty(self) -> np.ndarray:
        """(A,) boxes without width or height, inverted ones among them."""
        return self.measurable & (self.boxes[:, 2:] <= 0).any(1)

    @cached_property
    def beyond(self) -> np.ndarray:
        """(A,) boxes that lie beyond their image."""
        return self.measurable & ~self.empty & (self.inside[:, 2:] <= 0).any(1)

    @cached_property
    def thin(self) -> np.ndarray:
        """(A,) boxes of which less than a pixel's width or height lies inside their image."""
        return self.measurable & ~self.empty & ~self.beyond & (self.clipped[:, 2:] < _SMALLEST).any(1)

    @cached_property
    def crossing(self) -> np.ndarray:
        """(A,) boxes that reach beyond their image by more than rounding."""
        sound = self.measurable & ~self.empty & ~self.beyond
        return sound & (self.inside[:, 2:] < self.boxes[:, 2:] - _TOLERANCE).any(1)

    @cached_property
    def clipped(self) -> np.ndarray:
        """(A, 4) boxes, those that cross the border cut to their image."""
        return np.where(self.crossing[:, None], self.inside, self.boxes)

    @cached_property
    def usable(self) -> np.ndarray:
        """(A,) annotations that are learnt and measured: known image and class, a box of at least a pixel inside."""
        known = (self.owners >= 0) & (self.labels >= 0)
        return known & self.measurable & ~self.empty & ~self.beyond & ~self.thin

    @cached_property
    def objects(self) -> np.ndarray:
        """(A,) usable annotations that are no crowd regions."""
        return self.usable & ~self.crowd

    def names(self, mask: np.ndarray) -> list[str]:
        """What to call the annotations that `mask` (A,) chooses."""
        if self.origins:
            return [self.origins[place] for place in self.places[mask].tolist()]
        rows = zip(self.ids[mask].tolist(), self.places[mask].tolist(), strict=True)
        return [f"annotation {number}" if number else f"annotations[{place}]" for number, place in rows]

    def cleaned(self) -> Table:
        """Usable annotations alone, numbered from 1, boxes cut to their images; no area exceeds that of a cut box."""
        kept, boxes = self.usable, self.clipped
        areas = np.where(self.crossing, np.minimum(self.areas, boxes[:, 2] * boxes[:, 3]), self.areas)
        columns = {name: getattr(self, name)[kept] for name in ("places", "owners", "labels", "crowd")}
        numbers = np.arange(1, kept.sum() + 1)
        return replace(self, ids=numbers, boxes=boxes[kept], areas=areas[kept], **columns)

    def document(self) -> dict[str, Any]:
        """The columns in COCO's form, with the keys that its evaluation reads."""
        images = zip(self.image_ids.tolist(), self.file_names, self.image_sizes.astype(int).tolist(), strict=True)
        owners, categories = self.image_ids[self.owners], np.array(list(self.classes))[self.labels]
        columns = (self.ids, owners, categories, self.boxes, self.areas, self.crowd.astype(int))
        keys = ("id", "image_id", "category_id", "bbox", "area", "iscrowd")
        rows = zip(*(column.tolist() for column in columns), strict=True)
        return {
            "images": [{"id": i, "file_name": name, "width": w, "height": h} for i, name, (w, h) in images],
            "annotations": [dict(zip(keys, row, strict=True)) for row in rows],
            "categories": [{"id": number, "name": name} for number, name in self.classes.items()],
        }


def read_table(
    document: dict[str, Any], classes: dict[int, str], where: str, origins: Sequence[str] = ()
) -> tuple[Table, list[Finding]]:
    """Columns of a document, and what is wrong with its single entries or was filled in; `origins` as of `Table`."""
    images, _, image_findings = _entries(document, "images", _IMAGE_KEYS, where)
    annotations, places, annotation_findings = _entries(document, "annotations", _ANNOTATION_KEYS, where)
    place = {image["id"]: index for index, image in enumerate(images)}
    label = {category: index for index, category in enumerate(classes)}
    boxes = np.array([entry["bbox"] for entry in annotations], float).reshape(-1, 4)
    areas, no_area = _areas(annotations, boxes)
    ids = [entry.get("id") for entry in annotations]
    crowd, ignore = ([entry.get(key) for entry in annotations] for key in ("iscrowd", "ignore"))
    table = Table(
        where=where,
        classes=classes,
        image_ids=np.array([image["id"] for image in images], np.int64),
        file_names=[_on_disk(image["file_name"]) for image in images],
        image_sizes=np.array([(image["width"], image["height"]) for image in images], float).reshape(-1, 2),
        ids=np.array([value if is_whole(value) else 0 for value in ids], np.int64),
        places=np.array(places, np.int64),
        owners=np.array([place.get(entry["image_id"], -1) for entry in annotations], np.int64),
        labels=np.array([label.get(entry["category_id"], -1) for entry in annotations], np.int64),
        boxes=boxes,
        areas=areas,
        crowd=np.array([1 in flags for flags in zip(crowd, ignore, strict=True)], bool),
        origins=origins,
    )
    no_flag = np.array([_is_absent(flag) for flag in crowd], bool)
    area = "annotations have no 'area' above 0; width times height is taken"
    filled = [
        *finding("info", "no-iscrowd", where, "annotations have no 'iscrowd'; 0 is taken", table.names(no_flag)),
        *finding("info", "no-area", where, area, table.names(no_area)),
    ]
    return table, [*image_findings, *annotation_findings, *filled]


def _on_disk(name: str) -> str:
    """A file's name as this system's functions take it: in UTF-8 where the locale's encoding lacks its letters."""
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        with suppress(UnicodeEncodeError):  # half a character
            return os.fsdecode(name.encode())
    return name


def _areas(annotations: list[dict[str, Any]], boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(A,) areas, width times height where there is none above 0, and whether that is so."""
    given = np.array([entry.get("area") or 0 for entry in annotations], float)
    absent = ~((given > 0) & np.isfinite(given))
    with np.errstate(over="ignore", invalid="ignore"):
        return np.where(absent, boxes[:, 2] * boxes[:, 3], given), absent


def _is_number(value: Any) -> bool:
    return type(value) is float or is_whole(value)


def _is_length(value: Any) -> bool:
    return is_whole(value) and value > 0


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _is_absent(value: Any) -> bool:
    return value is None or value != value  # table programs write NaN for nothing


def _is_flag(value: Any) -> bool:
    return _is_absent(value) or (type(value) in (int, float, bool) and value in (0, 1))


def _is_area(value: Any) -> bool:
    return value is None or _is_number(value)


def _is_box(value: Any) -> bool:
    return type(value) is list and len(value) == 4 and all(map(_is_number, value))


Predicate = Callable[[Any], bool]

_IMAGE_KEYS: dict[str, tuple[Predicate, str]] = {
    "id": (is_whole, "a whole number"),
    "file_name": (_is_text, "a text"),
    "width": (_is_length, "a positive whole number"),
    "height": (_is_length, "a positive whole number"),
}
_ANNOTATION_KEYS: dict[str, tuple[Predicate, str]] = {
    "image_id": (is_whole, "a whole number"),
    "category_id": (is_whole, "a whole number"),
    "bbox": (_is_box, "a list of four numbers x, y, width, height"),
    "area": (_is_area, "a number"),
    "iscrowd": (_is_flag, "0 or 1"),
    "ignore": (_is_flag, "0 or 1"),
}


def _entries(
    document: dict[str, Any], section: str, keys: dict[str, tuple[Predicate, str]], where: str
) -> tuple[list[dict[str, Any]], Sequence[int], list[Finding]]:
    """The sound entries of a section, their places in it, and a finding for each key that is missing or wrong."""
    if section not in document:
        return [], [], [Finding("error", "missing-key", where, f"the file has no list '{section}'")]
    if not isinstance(document[section], list):
        return [], [], [Finding("error", "wrong-value", where, f"'{section}' must be a list")]
    entries = document[section]
    odd = {index for index, entry in enumerate(entries) if not isinstance(entry, dict)}
    text = f"every entry of '{section}' must be an object"
    findings, unsound = finding("error", "wrong-value", where, text, _places(section, odd)), set(odd)
    for key, (is_right, expected) in keys.items():
        faulty = {i for i, entry in enumerate(entries) if i not in odd and not is_right(entry.get(key))}
        absent = {index for index in faulty if key not in entries[index]}
        text = f"entries of '{section}' have no '{key}'"
        findings += finding("error", "missing-key", where, text, _places(section, absent))
        text = f"'{key}' in '{section}' must be {expected}"
        findings += finding("error", "wrong-value", where, text, _places(section, faulty - absent))
        unsound |= faulty
    kept = [index for index in range(len(entries)) if index not in unsound]
    return [entries[index] for index in kept], kept, findings


def _places(section: str, indices: set[int]) -> list[str]:
    return [f"{section}[{index}]" for index in sorted(indices)]
