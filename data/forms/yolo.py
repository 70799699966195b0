"""YOLO's form: a .txt of shares of the picture beside each picture, and data.yaml, which names classes and splits.

Where labels lie follows ultralytics: `images` in a picture's path becomes `labels`; without such a folder they lie beside
the pictures. Classes may be in classes.txt instead (labelImg, Label Studio, CVAT); splits are then the folders images/train,
train/images or train, and so on.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import yaml

from ..files import read_text
from ..pictures import SUFFIXES, read_pictures
from ..report import finding
from .place import ALIASES, SPLITS, Document, Place, counted, named_pictures, other_areas
from .yolo_labels import Labels, parse
from .yolo_settings import CLASSES, Settings, read_settings, settings_in

if TYPE_CHECKING:
    from ..parts import Part

__all__ = ["files", "find", "label_of", "read", "write"]


class _Listed(NamedTuple):
    """The pictures of a split."""

    pictures: list[str]  # relative to the root, with forward slashes
    labels: list[Path]  # of each, whether it exists or not
    lists: list[Path]  # files that named them


def find(path: Path) -> dict[str, Place]:
    """Splits that data.yaml names, or that lie in folders of the usual names; see `forms.find`."""
    settings = settings_in(path)
    if settings is None:
        return {}
    return {split: Place("yolo", split, settings.file, settings.root) for split in SPLITS if _entries(settings, split)}


def files(place: Place) -> list[Path]:
    """The files that a split's annotations are made of: data.yaml, lists of pictures, labels."""
    listed = _listed(read_settings(place.annotations), place.split)
    return [place.annotations, *listed.lists, *(label for label in listed.labels if label.is_file())]


def read(place: Place) -> Document:
    """A split in COCO's terms: boxes in pixels, categories numbered from 1, pictures in the order of lists or names.

    Raises:
        OSError, ValueError: when data.yaml or a list cannot be read.
    """
    settings, where = read_settings(place.annotations), f"{place.split} of {place.annotations.name}"
    listed = _listed(settings, place.split)
    read_sizes = read_pictures([place.images / name for name in listed.pictures])
    kept = [index for index, picture in enumerate(read_sizes) if picture]
    sizes = [(listed.pictures[index], *read_sizes[index].size) for index in kept]
    names = [os.path.relpath(listed.labels[index], place.images) for index in kept]
    labels = parse([listed.labels[index] for index in kept], names, len(settings.classes), settings.keypoints, where)
    boxes = in_pixels(labels.boxes, np.array([sizes[owner][1:] for owner in labels.owners], float).reshape(-1, 2))
    content = {
        "images": named_pictures(sizes),
        "annotations": _annotations(labels, boxes),
        "categories": [{"id": number, "name": name} for number, name in enumerate(settings.classes, 1)],
    }
    return Document(content, where, labels.origins, [*_faults(place, listed, read_sizes, where), *labels.findings])


def write(parts: Mapping[str, Part], folder: Path) -> tuple[dict[str, list[Path]], list[str]]:
    """data.yaml and labels/train/*.txt, …; a list of the pictures where their order is not that of their names.

    Shares are written to twelve decimals, so that `read` has boxes back to a millionth of a pixel.

    Returns:
        Where each split's pictures belong, images/train, images/val, …; and what the form cannot hold.
    """
    entries, crowds, areas = {}, 0, 0
    for split, part in parts.items():
        table = part.table
        objects = [[] for _ in part.names]
        lines = zip(table.owners, table.labels, to_shares(table.boxes, table.image_sizes[table.owners]), strict=True)
        for owner, label, share in (line for line, is_crowd in zip(lines, table.crowd, strict=True) if not is_crowd):
            objects[owner].append(" ".join([str(label), *(f"{value:.12f}".rstrip("0").rstrip(".") for value in share)]))
        for name, each in zip(part.names, objects, strict=True):
            file = folder / label_of(f"images/{split}/{name}")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("".join(f"{line}\n" for line in each), encoding="utf-8")
        entries[split] = f"images/{split}"
        if [*map(Path, part.names)] != sorted(map(Path, part.names)):
            entries[split] = f"{split}.txt"
            listed = "".join(f"./images/{split}/{name}\n" for name in part.names)
            (folder / f"{split}.txt").write_text(listed, encoding="utf-8")
        crowds += int(table.crowd.sum())
        areas += other_areas(table)
    names = dict(enumerate(next(iter(parts.values())).table.classes.values()))
    text = yaml.safe_dump({**entries, "names": names}, sort_keys=False, allow_unicode=True)
    (folder / "data.yaml").write_text(text, encoding="utf-8")
    lost = [*counted(crowds, "crowd regions"), *counted(areas, "areas that are not width times height, as of masks")]
    return {split: [folder / "images" / split / name for name in part.names] for split, part in parts.items()}, lost


def to_shares(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """The inverse of `in_pixels`."""
    return np.hstack([(boxes[:, :2] + boxes[:, 2:] / 2) / sizes, boxes[:, 2:] / sizes])


def in_pixels(shares: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Boxes (A, 4) centre x, y, width, height as shares of pictures (A, 2) width, height -> x, y, width, height in pixels.

    To a millionth of a pixel, which is more than files hold: a set that was converted has its numbers back to the digit.

    >>> in_pixels(np.array([[0.5, 0.5, 0.1, 0.2]]), np.array([[640.0, 480.0]])).tolist()
    [[288.0, 192.0, 64.0, 96.0]]
    """
    lengths = shares[:, 2:] * sizes
    return np.hstack([shares[:, :2] * sizes - lengths / 2, lengths]).round(6)


def label_of(picture: str) -> str:
    """Where ultralytics looks for the labels of a picture.

    >>> label_of("train/images/a.jpg"), label_of("images/val/b.c.png"), label_of("photos/d.jpg")
    ('train/labels/a.txt', 'labels/val/b.c.txt', 'photos/d.txt')
    """
    path = PurePosixPath(picture).with_suffix(".txt")
    folders = list(path.parts[:-1])
    if "images" in folders:
        folders[len(folders) - 1 - folders[::-1].index("images")] = "labels"
    return str(PurePosixPath(*folders, path.name))


def _annotations(labels: Labels, boxes: np.ndarray) -> list[dict]:
    rows = zip(labels.owners, labels.classes, boxes.tolist(), strict=True)
    return [
        {
            "id": number,
            "image_id": owner + 1,
            "category_id": label + 1,
            "bbox": box,
            "area": box[2] * box[3],
            "iscrowd": 0,
        }
        for number, (owner, label, box) in enumerate(rows, 1)
    ]


def _entries(settings: Settings, split: str) -> Sequence[Path]:
    """Folders and lists of a split: those that data.yaml names, or those that are called after it."""
    if settings.entries is not None:
        return settings.entries.get(split, ())
    named = [(settings.root / "images" / name, settings.root / name / "images", settings.root / name)
             for name in ALIASES[split]]  # fmt: skip
    lists = [settings.root / f"{name}.txt" for name in ALIASES[split]]
    there = [path for paths in named for path in paths if path.is_dir()] or [path for path in lists if path.is_file()]
    if there or split != "train" or any(_entries(settings, other) for other in SPLITS if other != "train"):
        return there[:1]
    whole = [path for path in (settings.root / "images", settings.root) if path.is_dir()]  # a set that is not split
    return whole[:1]


def _listed(settings: Settings, split: str) -> _Listed:
    pictures, lists = [], []
    for entry in _entries(settings, split):
        if entry.is_dir():
            pictures += [_relative(path, settings.root) for path in _pictures_below(entry)]
        else:
            lists.append(entry)
            pictures += [_relative(path, settings.root) for path in _named_in(entry, settings)]
    return _Listed(pictures, [_label_file(settings.root, name) for name in pictures], lists)


def _label_file(root: Path, picture: str) -> Path:
    beside = (root / picture).with_suffix(".txt")
    usual = root / label_of(picture)
    return beside if not usual.is_file() and beside.is_file() else usual


def _pictures_below(folder: Path) -> list[Path]:
    """By name, those of inner folders included."""
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(place, name) for name in names if Path(name).suffix.lower() in SUFFIXES and name[0] != "."]
    return sorted(found)


def _named_in(file: Path, settings: Settings) -> Iterator[Path]:
    """Pictures of a list: ./ stands for the list's folder, other names for the data set's."""
    for line in filter(None, map(str.strip, read_text(file).splitlines())):
        yield file.parent / line[2:] if line.startswith("./") else settings.root / line


def _relative(path: Path, root: Path) -> str:
    """A picture's name below the root; one outside of it stays what it is, and is refused as leaving the folder."""
    return Path(os.path.relpath(path, root)).as_posix()


def _faults(place: Place, listed: _Listed, sizes: Sequence, where: str) -> Iterator:
    gone = [name for name, size in zip(listed.pictures, sizes, strict=True) if not size]
    missing = [repr(name) for name in gone if not (place.images / name).is_file()]
    unreadable = [repr(name) for name in gone if (place.images / name).is_file()]
    known = {label for label in listed.labels if label.is_file()}
    stray = [os.path.relpath(file, place.images) for folder in sorted({label.parent for label in listed.labels})
             for file in sorted(folder.glob("*.txt")) if file not in known and file.name != CLASSES
             and file not in listed.lists]  # fmt: skip
    yield from finding("error", "missing-image", where, "pictures are listed but not there", missing)
    yield from finding("error", "unreadable-image", where, "images cannot be opened", unreadable)
    if listed.pictures and not known:
        text = "no picture has labels, which were looked for there"
        first = [os.path.relpath(listed.labels[0], place.images)]
        yield from finding("error", "no-labels", where, text, first)
    yield from finding("warning", "labels-without-image", where, "label files have no picture", list(map(repr, stray)))
