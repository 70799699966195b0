"""Reading detections that somebody else wrote, in the form of COCO's results."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .categories import is_whole
from .files import LARGEST_JSON, collector_paused, read_json
from .table import Table

__all__ = ["read_detections"]

LARGEST = 1e9  # pixels


@collector_paused()
def read_detections(path: str | Path, truth: Table, largest: int = LARGEST_JSON) -> list[dict[str, Any]]:
    """Detections of the images that `truth` lists: image_id, category_id, bbox (x, y, width, height, pixels) and score of each.

    Other keys are left out. Files of more than `largest` bytes are not read.

    Raises:
        FileNotFoundError: when it is missing.
        ValueError: when it is too large, no JSON, in another form, or of another data set.
    """
    document = read_json(path, largest)
    if not isinstance(document, list):
        raise ValueError(
            f"{path}: expected COCO results, a list of objects with {', '.join(_KEYS)}; got {_kind(document)}"
        )
    for place, entry in enumerate(document):
        if not isinstance(entry, dict):
            raise ValueError(f"{path}: [{place}] is {_kind(entry)}; expected an object with {', '.join(_KEYS)}")
        for key, (is_right, expected) in _KEYS.items():
            if not is_right(entry.get(key)):
                raise ValueError(f"{path}: '{key}' of [{place}] must be {expected}; {_given(entry, key)}")
    _refuse_others(path, document, "image_id", "image", frozenset(truth.image_ids.tolist()), truth.where)
    _refuse_others(path, document, "category_id", "category", truth.classes.keys(), truth.where)
    return [{key: entry[key] for key in _KEYS} for entry in document]


def _refuse_others(
    path: str | Path, entries: list[dict[str, Any]], key: str, what: str, known: Any, where: str
) -> None:
    """What is not listed shows that the detections are of something else."""
    others = [entry[key] for entry in entries if entry[key] not in known]
    if others:
        raise ValueError(
            f"{path}: {len(others)} of {len(entries)} detections have an unknown {key}, such as {others[0]}, "
            f"which {where} does not list; are they of another data set or split? An id must be that of the {what} in {where}"
        )


def _is_finite(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


def _is_box(value: Any) -> bool:
    if type(value) is not list or len(value) != 4 or not all(map(_is_finite, value)):
        return False
    return max(map(abs, value)) < LARGEST and min(value[2:]) >= 0


def _given(entry: dict[str, Any], key: str) -> str:
    return f"got {str(entry[key])[:60]}" if key in entry else "there is none"


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "a truth value", type(None): "null"}
    return names.get(type(value), "a number")


_KEYS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "image_id": (is_whole, "a whole number"),
    "category_id": (is_whole, "a whole number"),
    "bbox": (_is_box, "four finite numbers x, y, width, height, no size below 0"),
    "score": (_is_finite, "a finite number"),
}
