"""Whether the pictures that a data set lists are there, can be read, and are what the loader makes of them.

Training reads pictures with OpenCV, which turns and mirrors them as their EXIF orientation says, though not in every
format. Sizes come from headers; where a header names an orientation, the loader is asked.
"""

from __future__ import annotations

import os
import struct
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from cv2.utils import logging as cv2_logging
from PIL import Image

from .report import Finding, finding
from .rules import is_inside_folder
from .table import Table

__all__ = ["SUFFIXES", "Picture", "check_pictures", "read_pictures", "silent_decoder"]

SUFFIXES = frozenset(  # of files that the loader takes, in lower case
    {".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
)
ORIENTATION, UPRIGHT, SIDEWAYS = 0x0112, 1, (5, 6, 7, 8)  # of EXIF; the last turn by a quarter
BROKEN_EXIF = (OSError, struct.error, KeyError, SyntaxError, TypeError, ValueError, ZeroDivisionError)  # Pillow's
BROKEN_IMAGE = (*BROKEN_EXIF, cv2.error, MemoryError, Image.DecompressionBombError)
LARGE = 2**20  # pixels, above which a JPEG is decoded at an eighth of its size to see which way up it comes
TOGETHER = 64  # pictures read between two reports of progress

Progress = Callable[[int, int], None]


class Picture(NamedTuple):
    """What the loader makes of a file.

    Attributes:
        size: width and height, pixels.
        turned: whether it is turned or mirrored on the way.
        sideways: whether that exchanges width and height.
    """

    size: tuple[int, int]
    turned: bool
    sideways: bool

    @property
    def hides_its_turn(self) -> bool:
        """Whether boxes drawn on the picture as stored lie elsewhere, though the size is the same."""
        return self.turned and (not self.sideways or self.size[0] == self.size[1])


def check_pictures(
    table: Table, folder: Path, headers: int, decode: bool = False, progress: Progress | None = None
) -> list[Finding]:
    """Whether the listed pictures are in `folder`, and whether some can be read and have the size that is listed.

    table: of one split; headers: how many are opened, spread evenly; decode: read every picture to its end instead;
    progress: called with (pictures done, pictures in all).
    """
    if not folder.is_dir():
        text = f"the folder of images {folder} does not exist"
        return [Finding("error", "missing-folder", table.where, text)]
    named = [index for index, name in enumerate(table.file_names) if is_inside_folder(name)]
    there = [index for index in named if os.path.isfile(folder / table.file_names[index])]
    missing = [table.file_names[index] for index in sorted(set(named) - set(there))]
    hint = "; a backslash in a name separates folders on Windows alone" if any("\\" in name for name in missing) else ""
    if not decode:
        there = [there[place] for place in _spread(len(there), headers)]
    pictures = read_pictures([folder / table.file_names[index] for index in there], decode, progress)
    return [
        *finding(
            "error", "missing-image", table.where, f"images are listed but not there{hint}", list(map(repr, missing))
        ),
        *_compared(table, there, pictures, "decoded" if decode else "opened"),
    ]


def read_pictures(
    paths: Sequence[Path], decode: bool = False, progress: Progress | None = None
) -> list[Picture | None]:
    """What the loader makes of files, None for one that is no image, damaged or absurdly large.

    Several threads share the work; decoders let go of the interpreter.

    decode: read them to their ends, not only their headers; progress: called with (files done, files in all).
    """
    found: list[Picture | None] = []
    with warnings.catch_warnings(), silent_decoder(), ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        warnings.simplefilter("ignore")  # of tags that are cut off, and of large aerial images
        for start in range(0, len(paths), TOGETHER):
            found += threads.map(lambda path: _read(path, decode), paths[start : start + TOGETHER])
            if progress:
                progress(len(found), len(paths))
    return found


@contextmanager
def silent_decoder() -> Iterator[None]:
    """OpenCV says on the terminal what it finds wrong with a file; here the caller says it."""
    level = cv2_logging.getLogLevel()
    cv2_logging.setLogLevel(cv2_logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2_logging.setLogLevel(level)


def _read(path: Path, decode: bool = False) -> Picture | None:
    try:
        with Image.open(path) as image:
            orientation = _orientation(image, path)
            form, size = image.format, image.size
        if decode or orientation != UPRIGHT:
            return _as_loaded(path, form, size, orientation, decode)
        return Picture(size, turned=False, sideways=False)
    except BROKEN_IMAGE:
        return None


def _compared(table: Table, indices: list[int], pictures: list[Picture | None], read: str) -> list[Finding]:
    """Findings about pictures that were read, against what the table lists of them."""
    unreadable, different, turned, hidden = [], [], [], []
    for index, picture in zip(indices, pictures, strict=True):
        name, listed = repr(table.file_names[index]), tuple(table.image_sizes[index])
        if picture is None:
            unreadable.append(name)
        elif picture.size != listed:
            is_stored_size = picture.sideways and picture.size[::-1] == listed
            (turned if is_stored_size else different).append(name)
        elif picture.hides_its_turn:
            hidden.append(name)
    as_stored = "so boxes drawn on the picture as it is stored are misplaced"
    cases = (
        ("error", "unreadable-image", f"images cannot be {read}", unreadable),
        ("warning", "image-size", "images have another size than listed, so their boxes may be misplaced", different),
        (
            "warning",
            "image-size",
            f"images are turned by a quarter as their EXIF orientation says, {as_stored}",
            turned,
        ),
        ("warning", "exif-orientation", f"images are turned or mirrored as their EXIF says, {as_stored}", hidden),
    )
    return [found for level, code, text, names in cases for found in finding(level, code, table.where, text, names)]


def _spread(count: int, wanted: int) -> list[int]:
    """At most so many of `count` places, evenly."""
    return np.unique(np.linspace(0, count - 1, min(wanted, count)).astype(int)).tolist()


def _orientation(image: Image.Image, path: Path) -> int:
    """The EXIF orientation that an opened file names, or upright."""
    with suppress(*BROKEN_EXIF):
        if image.format == "TIFF":
            return _known(image.tag_v2.get(ORIENTATION))
        if image.format == "PNG" and "exif" not in image.info and b"eXIf" in path.read_bytes():
            image.load()  # it lies behind the pixels
        exif = Image.Exif()
        exif.load(image.info.get("exif", b""))
        return _known(exif.get(ORIENTATION))
    return UPRIGHT


def _known(orientation: object) -> int:
    return orientation if orientation in range(1, 9) else UPRIGHT


def _as_loaded(path: Path, form: str, size: tuple[int, int], orientation: int, whole: bool) -> Picture | None:
    """What OpenCV makes of a file; large JPEGs, unless they are wanted whole, at an eighth of their size."""
    reduced = not whole and form in ("JPEG", "MPO") and size[0] * size[1] > LARGE
    flag = cv2.IMREAD_REDUCED_COLOR_8 if reduced else cv2.IMREAD_COLOR
    content = np.frombuffer(path.read_bytes(), np.uint8)
    pixels = cv2.imdecode(content, flag)
    if pixels is None:
        return None
    turned = orientation != UPRIGHT and (form == "TIFF" or _differ(pixels, content, flag))
    sideways = turned and orientation in SIDEWAYS
    if reduced:
        return Picture(size[::-1] if sideways else size, turned, sideways)
    return Picture(pixels.shape[1::-1], turned, sideways)


def _differ(pixels: np.ndarray, content: np.ndarray, flag: int) -> bool:
    """Whether a picture comes otherwise when its orientation is not heeded, as OpenCV does not for TIFF."""
    return not np.array_equal(pixels, cv2.imdecode(content, flag | cv2.IMREAD_IGNORE_ORIENTATION))
