"""The lines of YOLO's label files: a class and a box, or a polygon that a box is made of."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..files import read_text
from ..report import Finding, Severity, finding

__all__ = ["Labels", "parse"]

_LARGEST = 2**24  # bytes of a file
_BEYOND = 0.01  # that shares may lie outside of [0, 1], as ultralytics allows for rounding
_BOX = 5  # numbers of a line: class, centre x, centre y, width, height

_SAYINGS: dict[str, tuple[Severity, str]] = {
    "label-line": ("error", "lines must hold numbers: a class and a box (5), or a class and a polygon (7, 9, 11, …)"),
    "label-confidence": ("error", "lines have six numbers, a class, a box and a confidence: predictions, not labels"),
    "unknown-category": ("error", "class numbers are not among those that are named, 0 to {last}"),
    "label-share": ("error", "values lie outside of [0, 1]; YOLO's are shares of the picture, not pixels"),
    "label-file": ("error", "label files are no text or too large"),
    "polygons": ("info", "polygons are read as the boxes around them"),
}


class Labels(NamedTuple):
    """The objects of many files, A in all.

    Attributes:
        owners: place of each one's file.
        classes: its class, from 0.
        boxes: (A, 4) centre x, centre y, width, height, shares of the picture.
        origins: file and line of each.
        findings: what is wrong with lines that were left out.
    """

    owners: list[int]
    classes: list[int]
    boxes: np.ndarray
    origins: list[str]
    findings: list[Finding]


def parse(paths: Sequence[Path], names: Sequence[str], classes: int, keypoints: int, where: str) -> Labels:
    """Read label files; one that is not there is a picture without objects.

    Args:
        paths: of the files.
        names: what to call them.
        classes: how many there are.
        keypoints: numbers that follow a box in every line, as in sets of poses.
        where: what to call the split.
    """
    owners, labels, boxes, origins, cases = [], [], [], [], defaultdict(list)
    for owner, (path, name) in enumerate(zip(paths, names, strict=True)):
        try:
            lines = _lines(path)
        except (OSError, ValueError):
            cases["label-file"].append(repr(name))
            continue
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            fault, label, box = _object(line.split(), classes, keypoints)
            if fault:
                cases[fault].append(f"{name}:{number}")
            if box is not None:
                owners.append(owner)
                labels.append(label)
                boxes.append(box)
                origins.append(f"{name}:{number}")
    said = ((code, *_SAYINGS[code], found) for code, found in cases.items())
    findings = [one for code, level, text, found in said
                for one in finding(level, code, where, text.format(last=classes - 1), found)]  # fmt: skip
    return Labels(owners, labels, np.array(boxes, float).reshape(-1, 4), origins, findings)


def _lines(path: Path) -> list[str]:
    return read_text(path, _LARGEST).splitlines() if path.is_file() else []


def _object(words: list[str], classes: int, keypoints: int) -> tuple[str | None, int, tuple[float, ...] | None]:
    """What to say of a line, and its class and box, None where it is left out."""
    try:
        label, *values = map(float, words)
    except ValueError:
        return "label-line", 0, None
    values = values[: _BOX - 1] if keypoints and len(words) == _BOX + keypoints else values
    polygon = len(values) >= 6 and len(values) % 2 == 0
    if len(values) == _BOX:
        return "label-confidence", 0, None
    if not (len(values) == _BOX - 1 or polygon) or not all(map(math.isfinite, (label, *values))):
        return "label-line", 0, None
    if label not in range(classes):
        return "unknown-category", 0, None
    if min(values) < -_BEYOND or max(values) > 1 + _BEYOND:
        return "label-share", 0, None
    return ("polygons", int(label), _around(values)) if polygon else (None, int(label), tuple(values))


def _around(values: list[float]) -> tuple[float, ...]:
    """Centre x, centre y, width, height of a polygon x, y, x, y, …"""
    left, right, top, bottom = min(values[::2]), max(values[::2]), min(values[1::2]), max(values[1::2])
    return (left + right) / 2, (top + bottom) / 2, right - left, bottom - top
