"""COCO's form: a JSON file per split, in the layouts that COCO, Roboflow, CVAT and Label Studio give it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..files import json_text, read_json
from ..rules import is_inside_folder
from .place import ALIASES, Document, Place, split_of

if TYPE_CHECKING:
    from ..parts import Part

__all__ = ["files", "find", "read", "write"]

_EXPORTED = "_annotations.coco.json"  # Roboflow's
_WHOLE = ("result.json", "annotations.json", "annotations/instances_default.json", _EXPORTED)  # sets that are not split
_PEEK = 2**20  # bytes in which the first file name is looked for
_FILE_NAME = re.compile(rb'"file_name"\s*:\s*("(?:[^"\\]|\\.)*")')


def find(path: Path) -> dict[str, Place]:
    """Splits of a folder in one of the layouts, of a single file the one split; see `forms.find`."""
    if path.is_file():
        return {"train": _place("train", path, path.parent)} if path.suffix == ".json" else {}
    for layout in (_side_by_side, _cocos, _exported, _whole):
        found = dict(layout(path))
        if found:
            return {split: _place(split, file, path) for split, file in found.items()}
    return {}


def files(place: Place) -> list[Path]:
    """The file of a split."""
    return [place.annotations]


def read(place: Place) -> Document:
    """The file of a split, as it is.

    Raises:
        OSError, ValueError: when it is missing or no JSON.
    """
    return Document(read_json(place.annotations), _name(place.annotations))


def write(parts: Mapping[str, Part], folder: Path) -> tuple[dict[str, list[Path]], list[str]]:
    """train.json, val.json, …, with whatever the entries hold.

    Returns:
        Where each split's pictures belong, images/train, images/val, …; and what is lost, nothing.
    """
    for split, part in parts.items():
        images = [{**image, "file_name": name} for image, name in zip(part.content["images"], part.names, strict=True)]
        text = json_text({**part.content, "images": images})
        (folder / f"{split}.json").write_text(text, encoding="utf-8")
    return {split: [folder / "images" / split / name for name in part.names] for split, part in parts.items()}, []


def _name(path: Path) -> str:
    """What to call a file in messages: files that are named alike by their folders."""
    return f"{path.parent.name}/{path.name}" if path.name == _EXPORTED else path.name


def _side_by_side(folder: Path) -> Iterator[tuple[str, Path]]:
    """train.json, val.json, …, here or in annotations/."""
    for place in (folder, folder / "annotations"):
        found = [(split, place / f"{name}.json") for split, names in ALIASES.items() for name in names]
        found = [(split, file) for split, file in found if file.is_file()]
        if found:
            return iter(found)
    return iter(())


def _cocos(folder: Path) -> Iterator[tuple[str, Path]]:
    """annotations/instances_train2017.json, …; the last year where there are several."""
    for file in sorted(folder.glob("annotations/instances_*.json")):
        split = split_of(file.stem.removeprefix("instances_"))
        if split:
            yield split, file


def _exported(folder: Path) -> Iterator[tuple[str, Path]]:
    """train/_annotations.coco.json, valid/…, test/…"""
    for split, names in ALIASES.items():
        for name in names:
            if (file := folder / name / _EXPORTED).is_file():
                yield split, file


def _whole(folder: Path) -> Iterator[tuple[str, Path]]:
    """A set that is not split yet."""
    file = next((folder / name for name in _WHOLE if (folder / name).is_file()), None)
    if file:
        yield "train", file


def _place(split: str, file: Path, folder: Path) -> Place:
    return Place("coco", split, file, _images(file, folder))


def _images(file: Path, folder: Path) -> Path:
    """The folder of a split's pictures: where the first of them is, or the first that is there."""
    name = file.stem.removeprefix("instances_")
    if file.name == _EXPORTED:
        return file.parent
    candidates = (folder / "images" / name, folder / name, folder / "images", folder / "images" / "default", folder)
    there = [candidate for candidate in candidates[:-1] if candidate.is_dir()]
    first = _first_picture(file)
    holds = (candidate for candidate in (*there, folder) if first and (candidate / first).is_file())
    return next(holds, there[0] if there else folder / "images")


def _first_picture(file: Path) -> str | None:
    """The first file name in an annotation file, without parsing it."""
    with file.open("rb") as opened:
        found = _FILE_NAME.search(opened.read(_PEEK))
    try:
        name = json.loads(found[1]) if found else ""
    except ValueError:
        return None
    return name if name and is_inside_folder(name) else None
