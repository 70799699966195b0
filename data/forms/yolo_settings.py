"""YOLO's data.yaml, and classes.txt in its place: names of the classes, and where the splits lie.

Everything must lie below `path`, or below the file's own folder. `../train/images`, which Roboflow writes for a folder beside
data.yaml, is looked for as train/images, as ultralytics does.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from ..files import read_text
from .place import ALIASES

__all__ = ["CLASSES", "Settings", "read_settings", "settings_in"]

CLASSES = "classes.txt"
_USUAL = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
_LARGEST = 2**20  # bytes


class _Plain(yaml.SafeLoader):
    """Without merged keys, `<<`: a few lines of them copy each other to any size."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Refuse what would be merged."""
        merged = next((key for key, _ in node.value if key.tag == "tag:yaml.org,2002:merge"), None)
        if merged is not None:
            raise yaml.constructor.ConstructorError(None, None, "keys are merged with <<", merged.start_mark)


class Settings(NamedTuple):
    """What such a file says.

    Attributes:
        file: itself.
        root: the folder that everything lies below.
        classes: names, class 0 first.
        keypoints: numbers that follow a box in every line.
        entries: folders and lists of each split that it names; None where it names none.
    """

    file: Path
    root: Path
    classes: tuple[str, ...]
    keypoints: int = 0
    entries: dict[str, tuple[Path, ...]] | None = None


def settings_in(path: Path) -> Settings | None:
    """Those of a folder, or of a file that is named itself; None where there is no such file.

    Raises:
        ValueError: for one that is broken.
    """
    if path.is_file():
        return read_settings(path) if path.suffix in (".yaml", ".yml") else None
    usual = next((path / name for name in _USUAL if (path / name).is_file()), None)
    if usual:
        return read_settings(usual)
    others = [file for file in sorted([*path.glob("*.yaml"), *path.glob("*.yml")]) if _names_classes(file)]
    if len(others) > 1:
        raise ValueError(f"{path} holds several data sets' files: {others[0].name}, {others[1].name}; name one of them")
    if others:
        return read_settings(others[0])
    labels = any(path.glob("labels/**/*.txt")) or any(path.glob("*/labels/*.txt")) or _beside(path)
    return read_settings(path / CLASSES) if (path / CLASSES).is_file() and labels else None


def read_settings(path: Path) -> Settings:
    """Read data.yaml or classes.txt.

    Raises:
        OSError, ValueError: when it cannot be read or does not say what it must, naming it.
    """
    if path.suffix == ".txt":
        lines = read_text(path, _LARGEST).splitlines()
        return Settings(path, _root({}, path), _checked([line.strip() for line in lines if line.strip()], path))
    document = _parsed(path)
    if not isinstance(document, Mapping):
        raise ValueError(f"{path}: expected 'names' and 'train', 'val', …")
    root = _root(document, path)
    entries = {split: found for split, names in ALIASES.items()
               if (found := _entries(document, names, root, path, needed=split != "test"))}  # fmt: skip
    return Settings(path, root, _classes(document, path), _keypoints(document, path), entries or None)


def _beside(path: Path) -> bool:
    return any(file.name != CLASSES for file in path.glob("*.txt"))


def _names_classes(path: Path) -> bool:
    try:
        document = _parsed(path)
    except ValueError:
        return False
    return isinstance(document, Mapping) and "names" in document


def _parsed(path: Path) -> Any:
    text = read_text(path, _LARGEST)
    try:
        return yaml.load(text, _Plain)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ValueError(f"{path} is no YAML: {getattr(error, 'problem', None) or 'unreadable'}{place}") from error
    except RecursionError as error:
        raise ValueError(f"{path} is no readable YAML: it is nested too deeply") from error
    except ValueError as error:  # of dates and numbers that there are not
        raise ValueError(f"{path} is no readable YAML: {error}") from error
    except (KeyError, IndexError, AttributeError, TypeError) as error:  # of tags whose values are none of theirs
        raise ValueError(f"{path} is no readable YAML: a value is not what its tag says") from error


def _classes(document: Mapping[Any, Any], path: Path) -> tuple[str, ...]:
    names = document.get("names")
    if isinstance(names, Mapping):
        if sorted(names, key=str) != sorted(range(len(names)), key=str):
            raise ValueError(f"{path}: 'names' must number the classes from 0 without gaps")
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or not names:
        raise ValueError(f"{path}: 'names' must list the classes")
    count = document.get("nc")
    if count is not None and count != len(names):
        number = count if type(count) is int else "no number"
        raise ValueError(f"{path}: 'nc' is {number}, and 'names' has {len(names)} classes")
    return _checked([str(name) if type(name) in (int, float) else name for name in names], path)


def _checked(names: list[Any], path: Path) -> tuple[str, ...]:
    if not names or not all(isinstance(name, str) and name for name in names):
        raise ValueError(f"{path}: names of classes must be texts, at least one")
    if len(set(names)) < len(names):
        raise ValueError(f"{path}: two classes are called {next(name for name in names if names.count(name) > 1)!r}")
    return tuple(names)


def _keypoints(document: Mapping[Any, Any], path: Path) -> int:
    shape = document.get("kpt_shape")
    if shape is None:
        return 0
    if not isinstance(shape, list) or not all(type(size) is int and 0 < size < 1000 for size in shape):
        raise ValueError(f"{path}: 'kpt_shape' must be a list of whole numbers")
    return math.prod(shape)


def _root(document: Mapping[Any, Any], path: Path) -> Path:
    """The folder that `path` names, if it is there; else the file's own, as of a set that was moved."""
    named = document.get("path")
    if named is not None and not isinstance(named, str):
        raise ValueError(f"{path}: 'path' must be a text")
    candidates = (path.parent / named, Path(named)) if named else ()
    return Path(os.path.abspath(next(filter(os.path.isdir, candidates), path.parent)))


def _entries(
    document: Mapping[Any, Any], names: tuple[str, ...], root: Path, path: Path, needed: bool
) -> tuple[Path, ...]:
    """Folders and lists of a split; those of a test set that is not there are passed over."""
    key = next((name for name in names if document.get(name)), None)
    if key is None:
        return ()
    values = document[key] if isinstance(document[key], list) else [document[key]]
    if not all(isinstance(value, str) for value in values):
        raise ValueError(f"{path}: {key!r} must be a folder, a list of pictures (.txt), or several of them")
    places = [_place(value, root, path.parent) for value in values]
    for value, place in zip(values, places, strict=True):
        if place is None and needed:
            raise ValueError(f"{path}: {key!r} names {value!r}, which is not there below {root}")
    return tuple(place for place in places if place)


def _place(value: str, root: Path, folder: Path) -> Path | None:
    """What a value names, below the root."""
    inner = value
    while inner.startswith("../"):
        inner = inner[3:]
    named = (Path(os.path.abspath(base / name)) for name in (value, inner) for base in (root, folder))
    return next((place for place in named if place.is_relative_to(root) and os.path.exists(place)), None)
