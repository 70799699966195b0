"""Writing files whole: aside first, then renamed, so that a name never stands for half a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..data.files import json_text


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


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Lets an error that names no file, as that of a full disk, name this one, or the folder that is written to."""
    try:
        yield
    except OSError as error:
        if error.strerror and error.filename is None:
            error.filename = str(path)
        raise
