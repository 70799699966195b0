"""What lies in a folder that is no data set in a known form, in words that say what may be missing."""

from __future__ import annotations

import os
from collections import Counter
from itertools import islice
from pathlib import Path

from ..pictures import SUFFIXES

__all__ = ["what_is_there"]

_LOOKED_AT = 10000  # files; a wrong folder may be anything


def what_is_there(path: Path) -> str:
    """A sentence for a folder or file that no form recognises."""
    if path.is_file():
        return "it is a file, and data must be a folder, or YOLO's data.yaml"
    names = [Path(name) for name in islice(_names(path), _LOOKED_AT)]
    if not names:
        return "it is empty"
    kinds = Counter(_kind(name) for name in names)
    pictures, texts = kinds["picture"], kinds[".txt"]
    counted = ", ".join(
        f"{count} {kind}{'s' * (kind == 'picture' and count > 1)}" for kind, count in kinds.most_common(4)
    )
    if texts and pictures:
        return f"found {counted}: YOLO? then data.yaml (names of the classes, train, val) or classes.txt is missing"
    if kinds[".xml"]:
        return (
            f"found {counted}: Pascal VOC? then Annotations/*.xml or .xml beside pictures in train/, valid/ is expected"
        )
    if kinds[".json"]:
        return f"found {counted}: COCO? then train.json and val.json or annotations/instances_*.json are expected"
    if pictures:
        return f"found {counted}, and no annotations of COCO (.json), YOLO (.txt and data.yaml) or VOC (.xml)"
    return f"found {counted}"


def _names(folder: Path):
    for _, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from files


def _kind(name: Path) -> str:
    suffix = name.suffix.lower()
    return "picture" if suffix in SUFFIXES else suffix or "files without a suffix"
