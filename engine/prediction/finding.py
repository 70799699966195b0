"""Which image and video files a command's paths mean."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import cv2
from PIL import Image

from ...data.pictures import SUFFIXES, silent_decoder
from .frames import VIDEOS


def find_images(paths: Sequence[Path], recursive: bool = False) -> list[Path]:
    """The files among `paths`, and the image files in those that are folders, by name; each once.

    `left_out` names what a folder holds besides. Files whose names begin with a dot are passed over.

    Args:
        paths: files and folders.
        recursive: look into the folders of a folder, too; not through links.

    Raises:
        FileNotFoundError: when a path does not exist or a folder holds no image that can be read.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"image {path} does not exist")
        files = _sorted_out(path, recursive)[0] if path.is_dir() else [path]
        if not files:
            reasons = "".join(f"; {sentence}" for sentence in left_out([path], recursive))
            raise FileNotFoundError(f"folder {path} holds no image that can be read{reasons}")
        for file in files:
            found.setdefault(file.resolve(), file)
    return list(found.values())


def left_out(paths: Sequence[Path], recursive: bool = False) -> list[str]:
    """A sentence for each folder of which `find_images` leaves something out."""
    sentences = []
    for path in filter(Path.is_dir, paths):
        _, others, folders = _sorted_out(path, recursive)
        parts = [f"{count} {kind}" for kind, count in others.most_common()]
        if folders:
            parts.append(f"{folders} folder{'s' * (folders > 1)}{'' if recursive else ' (see --recursive)'}")
        if parts:
            sentences.append(f"{path}: left out: {', '.join(parts)}")
    return sentences


def _sorted_out(folder: Path, recursive: bool) -> tuple[list[Path], Counter[str], int]:
    """The images in a folder that can be read, by name; how many files of which other kinds; how many folders."""
    images, others, closed = [], Counter(), []
    folders = 0
    for place, inner, names in os.walk(folder, onerror=closed.append):
        shown = [name for name in inner if not name.startswith(".")]
        inner[:] = [name for name in shown if recursive and not (Path(place) / name).is_symlink()]
        folders += len(shown) - len(inner)
        for path in (Path(place) / name for name in names if not name.startswith(".")):
            if _is_image(path):
                images.append(path)
            else:
                others[path.suffix.lower() or "without a suffix"] += 1
    return sorted(images), others, folders + len(closed)


def is_video(path: Path) -> bool:
    """Whether a file is taken for a video; its name says so."""
    return path.suffix.lower() in VIDEOS


def _is_image(path: Path) -> bool:
    """Whether a file's name or content is that of an image whose kind both readers know."""
    if not path.is_file():
        return False
    if path.suffix.lower() in SUFFIXES:
        return True
    with silent_decoder(), suppress(Exception):  # a hostile file can make a reader fail in any way
        if cv2.haveImageReader(str(path)):
            with Image.open(path):
                return True
    return False
