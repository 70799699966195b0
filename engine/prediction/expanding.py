"""What people type for many files: patterns and lists."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from pathlib import Path

from ...data.files import read_text

LIST = "@"  # before the name of a list
LONGEST_LIST = 2**28  # bytes


def expanded(paths: Sequence[Path]) -> list[Path]:
    """The paths with patterns as what they match, by name, and lists as what they name.

    A pattern has *, ? or [...] and is no path that exists; ** stands for any folders. A list is a text file behind an @, a path
    a line, seen from the list's folder; empty lines, and those that begin with #, are passed over.

    Raises:
        FileNotFoundError: when a pattern matches nothing, and when a list or what it names is not there.
        ValueError: for a list that is no text, or empty.
    """
    return [each for path in paths for each in _meant(path)]


def _meant(path: Path) -> Iterator[Path]:
    text = str(path)
    if path.exists():
        yield path
    elif text.startswith(LIST):
        yield from _listed(Path(text.removeprefix(LIST)))
    elif glob.has_magic(text):
        matching = sorted(glob.glob(text, recursive=True))
        if not matching:
            raise FileNotFoundError(f"no file matches {text}")
        yield from map(Path, matching)
    else:
        yield path


def _listed(file: Path) -> Iterator[Path]:
    """The paths of a list, each of which exists."""
    lines = _text(file).splitlines()
    numbered = [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]
    named = [(number, file.parent / line) for number, line in numbered if not line.startswith("#")]
    if not named:
        raise ValueError(f"list {file}: names no file; expected a path a line")
    for number, path in named:
        if not path.exists():
            raise FileNotFoundError(
                f"list {file}, line {number}: {path} does not exist; paths are seen from the list's folder"
            )
        yield path


def _text(file: Path) -> str:
    try:
        text = read_text(file, LONGEST_LIST)
    except (FileNotFoundError, ValueError) as error:
        raise type(error)(f"list {error}") from error
    if "\0" in text:
        raise ValueError(f"list {file} is no text; expected a path a line")
    return text
