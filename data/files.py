"""Reading JSON that somebody else wrote, writing JSON that everybody reads, and folders that are either whole or absent."""

from __future__ import annotations

import gc
import json
import math
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = [
    "LARGEST_JSON",
    "collector_paused",
    "json_text",
    "new_folder",
    "read_bytes",
    "read_json",
    "read_text",
    "written_aside",
]

BLOCK = 2**20  # bytes at a time of what is longer than it says
LARGEST_JSON = 2**30  # bytes; COCO's train2017 has 0.45 GB and takes several times that once parsed


def read_json(path: str | Path, largest: int = LARGEST_JSON) -> Any:
    """Parse a JSON file of at most `largest` bytes.

    Raises FileNotFoundError when it is missing and ValueError, with line and column where there is one, when it is
    too large or no JSON. NaN and Infinity are let through, as other readers do.
    """
    content = read_bytes(path, largest)
    try:
        return json.loads(content)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is no JSON: {error.msg} in line {error.lineno}, column {error.colno}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no JSON: byte {error.start} is not {error.encoding} text") from error
    except RecursionError as error:
        raise ValueError(f"{path} is no readable JSON: it is nested too deeply") from error
    except ValueError as error:
        raise ValueError(f"{path} is no readable JSON: {error}") from error


def read_text(path: Path, largest: int = LARGEST_JSON) -> str:
    """A text of at most `largest` bytes, without the mark of its encoding.

    Raises OSError when it cannot be opened, ValueError when it is too large or not in UTF-8.
    """
    content = read_bytes(path, largest)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text: byte {error.start} is not {error.encoding}") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_bytes(path: str | Path, largest: int) -> bytes:
    """A file of at most `largest` bytes; no more are read, whatever its size is said to be.

    Raises FileNotFoundError for what is missing or no file, as a device, OSError when it cannot be opened, and ValueError when
    it is too large.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist" if not path.exists() else f"{path} is not a file")
    said = path.stat().st_size
    if said <= largest:
        with path.open("rb") as file:
            content = file.read(said + 1)
            while said < len(content) <= largest:  # it grows, or is one that says no size
                said = min(len(content) + BLOCK, largest)
                content += file.read(said + 1 - len(content))
        if len(content) <= largest:
            return content
        said = len(content)
    raise ValueError(f"{path} has {said} bytes, more than the {largest} that are read")


def json_text(value: Any, indent: int | None = None) -> str:
    """A value as JSON. Numbers that are not finite, for which JSON has no word, become null; all of this package is written so.

    >>> json_text({"AP": float("nan"), "curve": [0.5, float("inf")]})
    '{"AP": null, "curve": [0.5, null]}'
    """
    try:
        return json.dumps(value, indent=indent, allow_nan=False)
    except ValueError:  # rare, and large files are not copied for it
        return json.dumps(_with_null(value), indent=indent, allow_nan=False)


def _with_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_null(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_with_null(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def new_folder(folder: Path) -> Path:
    """The folder, if it may be written to: one that holds anything is somebody's, and no command writes into it.

    Raises FileExistsError unless it is absent or empty.
    """
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} is a file; name a new or empty folder")
    held = min((entry.name for entry in folder.iterdir()), default=None) if folder.is_dir() else None
    if held is not None:
        raise FileExistsError(f"{folder} holds files already, such as {held!r}; name a new or empty folder")
    return folder


@contextmanager
def collector_paused() -> Iterator[None]:
    """No search for unreachable objects while many are made: each would walk through all of a large document again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@contextmanager
def written_aside(directory: Path) -> Iterator[Path]:
    """A new folder beside `directory` to write into; it takes that name, replacing what is there, when all went well.

    After any exception, an interruption included, the folder is removed and `directory` is as it was.
    """
    directory = directory.resolve()
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{directory.name}.", dir=directory.parent) as workshop:
        fresh, former = Path(workshop) / "fresh", Path(workshop) / "former"
        fresh.mkdir()
        yield fresh
        try:
            if directory.exists():
                os.rename(directory, former)
            os.rename(fresh, directory)
        except BaseException:
            if former.exists() and not directory.exists():
                os.rename(former, directory)
            raise
