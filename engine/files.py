"""Writing files whole: aside first, then renamed, so that a name never stands for half a file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..data.files import json_text
from ..data.forms import FORMS, Place


def write_json(value: Any, path: Path) -> None:
    """Write a value as JSON; see `json_text`."""
    write_bytes((json_text(value, indent=2) + "\n").encode(), path)


def write_bytes(content: bytes, path: Path) -> None:
    """Write bytes; on a full disk the file that was there before stays."""
    write_whole(lambda aside: aside.write_bytes(content), path)


def write_whole(write: Callable[[Path], Any], path: Path) -> None:
    """Let `write` make a file aside, then give it its name."""
    aside = path.with_name(path.name + ".part")
    try:
        with naming(path):
            write(aside)
            aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """Of a file's content."""
    value = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            value.update(block)
    return value.hexdigest()


def sha256_of_split(place: Place, content: Callable[[Path], str] = sha256_of) -> str:
    """Of a split's annotations: of the file, where it is one, and of names and contents, where there are many.

    content: the SHA-256 of a file, for callers that keep them.

    Raises:
        OSError, ValueError: when they cannot be read.
    """
    files = FORMS[place.form].files(place)
    if files == [place.annotations]:
        return content(place.annotations)
    lines = [f"{os.path.relpath(file, place.images)} {content(file)}" for file in files]
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()


def last_lines(path: Path, size: int = 2**12) -> list[str]:
    """The lines in the last bytes of a file, of which the first may be cut; none where there is no file."""
    if not path.is_file():
        return []
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - size))
        return file.read().decode(errors="replace").splitlines()


def new_run_folder(name: str) -> Path:
    """runs/NAME, or runs/NAME-2, … : the first that does not exist."""
    from ..assigners.spec import slug  # imports torch

    return new_path(Path("runs") / slug(name), suffix="")


def new_path(path: Path, suffix: str | None = None) -> Path:
    """The path, or with -2, -3, … before its suffix: the first that does not exist."""
    suffix = path.suffix if suffix is None else suffix
    stem, number, found = path.name.removesuffix(suffix), 1, path
    while found.exists():
        number += 1
        found = path.with_name(f"{stem}-{number}{suffix}")
    return found


def check_files(*paths: Path | None) -> None:
    """Refuse before the work is done what could not be written after it."""
    for path in paths:
        if path and not path.resolve().parent.is_dir():
            raise FileNotFoundError(f"{path}: the folder {path.parent} does not exist")
        if path and path.is_dir():
            raise ValueError(f"{path}: expected a file's name, this is a folder")


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Lets an error that names no file, as that of a full disk, name this one, or the folder that is written to."""
    try:
        yield
    except OSError as error:
        if error.strerror and error.filename is None:
            error.filename = str(path)
        raise
