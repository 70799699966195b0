"""The forms that people have data sets in: a file each, that recognises a folder, and reads and writes it.

Each has `find` (folder -> splits and where they lie, nothing for a folder of another form), `files` (those that hold a
split's annotations) and `read` (a split as COCO's document). What is read goes through the same cleaning for all.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from types import ModuleType

from . import coco, voc, yolo
from .place import SPLITS, Document, Place
from .unknown import what_is_there

__all__ = ["FORMS", "SPLITS", "Document", "Place", "find"]

FORMS: dict[str, ModuleType] = {"coco": coco, "yolo": yolo, "voc": voc}


def find(path: Path) -> dict[str, Place]:
    """The splits of the data set in a folder, or of the one that a file like data.yaml describes.

    Raises:
        ValueError: when it is no data set, with what is there instead, or when its form is broken.
    """
    for form in FORMS.values():
        places = form.find(path)
        if places:
            return {split: places[split] for split in SPLITS if split in places}
    inner = sorted(child.name for child in _folders(path) if _is_set(child))
    hint = f"; the folder {inner[0]!r} in it is one, name that" if inner else f": {what_is_there(path)}"
    raise ValueError(f"{path} is no data set in a form that is known{hint}")


def _is_set(path: Path) -> bool:
    with suppress(OSError, ValueError):
        return any(form.find(path) for form in FORMS.values())
    return False


def _folders(path: Path) -> list[Path]:
    return [child for child in path.iterdir() if child.is_dir()] if path.is_dir() else []
