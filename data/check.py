"""Check a COCO data set before training: every fault one sentence, nothing raised, nothing changed."""

from __future__ import annotations

import os
import struct
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from .coco import DataSource, parse_categories
from .files import LARGEST_JSON, read_json
from .report import Finding, Report, finding
from .rules import RULES, is_inside_folder
from .statistics import split_statistics
from .table import Table, read_table

__all__ = ["check"]


ORIENTATION, SIDEWAYS = 0x0112, (5, 6, 7, 8)  # of EXIF: the values that turn by a quarter
BROKEN_EXIF = (OSError, struct.error, KeyError, SyntaxError, TypeError, ValueError, ZeroDivisionError)  # Pillow's


class _Split(NamedTuple):
    """The files of one split."""

    name: str
    annotations: Path
    images: Path


def check(source: str | Path | DataSource, *, headers: int = 200, largest: int = LARGEST_JSON) -> Report:
    """Check a data source, a folder with train.json, val.json and images/, or a single annotation file.

    The images of a single file are expected in images/ beside it. Every listed image must be there; of `headers`
    images per split, spread evenly, the header is read and the size compared (0: none). Annotation files of more
    than `largest` bytes are not read. Whatever is wrong with the data becomes a `Finding`.
    """
    if isinstance(headers, bool) or not isinstance(headers, int) or headers < 0:
        raise ValueError(f"headers must be a whole number of at least 0, got {headers!r}")
    name, splits = _splits(source)
    if not isinstance(source, DataSource) and not Path(source).exists():
        return Report(name, (Finding("error", "missing-file", str(source), "there is no such file or folder"),))
    findings, tables = [], {}
    for split in splits:
        table, found = _read_split(split, largest)
        findings += found
        if table is not None:
            tables[split.name] = table
            findings += [f for rule in RULES for f in rule(table)]
            findings += _check_images(table, headers)
    findings += _compare_splits(list(tables.values()))
    return Report(name, tuple(findings), {split: split_statistics(table) for split, table in tables.items()})


def _splits(source: str | Path | DataSource) -> tuple[str, list[_Split]]:
    if isinstance(source, DataSource):
        train = _Split("train", source.train_annotations, source.train_images)
        return source.name, [train, _Split("val", source.val_annotations, source.val_images)]
    path = Path(source)
    if path.suffix == ".json" and not path.is_dir():
        return path.name, [_Split(path.stem, path, path.parent / "images")]
    return path.resolve().name, [_Split(split, path / f"{split}.json", path / "images") for split in ("train", "val")]


def _read_split(split: _Split, largest: int) -> tuple[Table | None, list[Finding]]:
    """The columns of a split's annotation file, None when there is nothing to read, and what is wrong with it."""
    where = split.annotations.name
    try:
        document = read_json(split.annotations, largest)
    except FileNotFoundError as error:
        return None, [Finding("error", "missing-file", where, str(error))]
    except (OSError, ValueError) as error:
        return None, [Finding("error", "unreadable-json", where, str(error))]
    try:
        classes = parse_categories(document)
    except ValueError as error:
        return None, [Finding("error", "bad-categories", where, str(error))]
    table, findings = read_table(document, classes, where, split.images)
    listed = [category["id"] for category in document["categories"]]
    if listed != sorted(listed):
        text = "categories are not listed by ascending id, yet labels are numbered that way"
        findings.append(Finding("info", "category-order", where, text))
    return table, findings


def _check_images(table: Table, headers: int) -> list[Finding]:
    """Whether the listed images exist and, for some of them, can be opened and have the size that is listed."""
    if not table.folder.is_dir():
        text = f"the folder of images {table.folder} does not exist"
        return [Finding("error", "missing-folder", table.where, text)]
    named = [index for index, name in enumerate(table.file_names) if is_inside_folder(name)]
    there = [index for index in named if os.path.isfile(table.folder / table.file_names[index])]
    missing = [repr(table.file_names[index]) for index in sorted(set(named) - set(there))]
    chosen = np.unique(np.linspace(0, len(there) - 1, min(headers, len(there))).astype(int))
    unreadable, different = [], []
    for index in (there[place] for place in chosen):
        size = _image_size(table.folder / table.file_names[index])
        if size is None:
            unreadable.append(repr(table.file_names[index]))
        elif size != tuple(table.image_sizes[index]):
            different.append(repr(table.file_names[index]))
    text = (
        "images, turned as their EXIF orientation says, have another size than listed, so their boxes may be misplaced"
    )
    return [
        *finding("error", "missing-image", table.where, "images are listed but not there", missing),
        *finding("error", "unreadable-image", table.where, "images cannot be opened", unreadable),
        *finding("warning", "image-size", table.where, text, different),
    ]


def _image_size(path: Path) -> tuple[int, int] | None:
    """Width and height of an image as loaders turn it, from its header; None when it is no image or absurdly large."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                return image.size[::-1] if _is_sideways(image) else image.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        return None


def _is_sideways(image: Image.Image) -> bool:
    """Whether OpenCV turns an image by a quarter. Formats that keep EXIF behind the pixels, or turn by themselves, do not."""
    if image.format not in ("JPEG", "MPO", "WEBP"):
        return False
    exif = Image.Exif()
    with warnings.catch_warnings(), suppress(*BROKEN_EXIF):
        warnings.simplefilter("ignore")  # of tags that are cut off
        exif.load(image.info.get("exif", b""))
        return exif.get(ORIENTATION) in SIDEWAYS
    return False


def _compare_splits(tables: list[Table]) -> Iterator[Finding]:
    """Train and val must have the same categories and should not share images."""
    if len(tables) < 2:
        return
    train, val = tables
    if train.classes != val.classes:
        text = f"the categories differ from those of {train.where}"
        yield Finding("error", "different-categories", val.where, text)
    if train.folder == val.folder:
        shared = sorted(set(train.file_names) & set(val.file_names))
        text = f"images also occur in {train.where}, so the AP will flatter"
        yield from finding("warning", "shared-images", val.where, text, [repr(name) for name in shared])
