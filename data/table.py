"""A COCO annotation file as columns, so that rules and statistics are array expressions.

Entries that lack a key or hold a value of the wrong kind are reported and left out of the columns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .report import Finding, finding

__all__ = ["Table", "read_table"]

_LARGEST = 1e9  # pixels, and square pixels of an area


@dataclass(frozen=True)
class Table:
    """Columns of one annotation file: I images, A annotations."""

    where: str  # name of the file, for messages
    folder: Path  # of the images
    classes: dict[int, str]  # names by category id
    image_ids: np.ndarray  # (I,)
    file_names: list[str]  # I
    image_sizes: np.ndarray  # (I, 2) width, height
    ids: np.ndarray  # (A,)
    owners: np.ndarray  # (A,) index into the images, -1 for an image that is not listed
    labels: np.ndarray  # (A,) place of the category id in ascending order, -1 for one that is not listed
    boxes: np.ndarray  # (A, 4) x, y, width, height, pixels
    areas: np.ndarray  # (A,)
    crowd: np.ndarray  # (A,) bool

    @property
    def inside(self) -> np.ndarray:
        """(A, 2) width and height of the part of each box inside its image; negative when it lies beyond.

        The image of an annotation whose own is not listed counts as infinite.
        """
        sizes = np.vstack([self.image_sizes, [np.inf, np.inf]])[self.owners]
        with np.errstate(over="ignore", invalid="ignore"):
            return np.minimum(self.boxes[:, :2] + self.boxes[:, 2:], sizes) - np.maximum(self.boxes[:, :2], 0)

    @property
    def measurable(self) -> np.ndarray:
        """(A,) whether all numbers of a box and its area are finite and of a size that pixels can have."""
        return (np.abs(np.column_stack([self.boxes, self.areas])) < _LARGEST).all(1)

    @property
    def usable(self) -> np.ndarray:
        """(A,) annotations that become training targets: known image and class, a box of at least a pixel inside."""
        known = (self.owners >= 0) & (self.labels >= 0) & self.measurable
        return known & (self.boxes[:, 2:] >= 1).all(1) & (self.inside > 0).all(1) & (self.areas > 0)


def read_table(document: Any, classes: dict[int, str], where: str, folder: Path) -> tuple[Table, list[Finding]]:
    """Columns of a parsed annotation file, and what is wrong with its single entries."""
    images, image_findings = _entries(document, "images", _IMAGE_KEYS, where)
    annotations, annotation_findings = _entries(document, "annotations", _ANNOTATION_KEYS, where)
    place = {image["id"]: index for index, image in enumerate(images)}
    label = {category: index for index, category in enumerate(classes)}
    table = Table(
        where=where,
        folder=folder,
        classes=classes,
        image_ids=_column(images, "id", np.int64),
        file_names=[image["file_name"] for image in images],
        image_sizes=np.array([(image["width"], image["height"]) for image in images], float).reshape(-1, 2),
        ids=_column(annotations, "id", np.int64),
        owners=np.array([place.get(entry["image_id"], -1) for entry in annotations], np.int64),
        labels=np.array([label.get(entry["category_id"], -1) for entry in annotations], np.int64),
        boxes=np.array([entry["bbox"] for entry in annotations], float).reshape(-1, 4),
        areas=_column(annotations, "area", float),
        crowd=_column(annotations, "iscrowd", bool),
    )
    return table, image_findings + annotation_findings


def _column(entries: list[dict[str, Any]], key: str, kind: type) -> np.ndarray:
    return np.array([entry[key] for entry in entries], kind)


def _is_whole(value: Any) -> bool:
    return type(value) is int and abs(value) < 2**53  # beyond that, JSON readers disagree


def _is_number(value: Any) -> bool:
    return type(value) is float or _is_whole(value)


def _is_length(value: Any) -> bool:
    return _is_whole(value) and value > 0


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _is_flag(value: Any) -> bool:
    return type(value) in (int, bool) and value in (0, 1)


def _is_box(value: Any) -> bool:
    return type(value) is list and len(value) == 4 and all(map(_is_number, value))


Predicate = Callable[[Any], bool]

_IMAGE_KEYS: dict[str, tuple[Predicate, str]] = {
    "id": (_is_whole, "a whole number"),
    "file_name": (_is_text, "a text"),
    "width": (_is_length, "a positive whole number"),
    "height": (_is_length, "a positive whole number"),
}
_ANNOTATION_KEYS: dict[str, tuple[Predicate, str]] = {
    "id": (_is_whole, "a whole number"),
    "image_id": (_is_whole, "a whole number"),
    "category_id": (_is_whole, "a whole number"),
    "bbox": (_is_box, "a list of four numbers x, y, width, height"),
    "area": (_is_number, "a number"),
    "iscrowd": (_is_flag, "0 or 1"),
}


def _entries(
    document: dict[str, Any], section: str, keys: dict[str, tuple[Predicate, str]], where: str
) -> tuple[list[dict[str, Any]], list[Finding]]:
    """The sound entries of a section of an annotation file, and a finding for each key that is missing or wrong."""
    if section not in document:
        return [], [Finding("error", "missing-key", where, f"the file has no list '{section}'")]
    if not isinstance(document[section], list):
        return [], [Finding("error", "wrong-value", where, f"'{section}' must be a list")]
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
    return [entry for index, entry in enumerate(entries) if index not in unsound], findings


def _places(section: str, indices: set[int]) -> list[str]:
    return [f"{section}[{index}]" for index in sorted(indices)]
