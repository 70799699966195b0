"""The record of a finished cell: what it came to, under which conditions, and on what it ran.

Conditions are the cell's config without places: data sets and weights count by their content, devices not at all. So a data set
or a grid that was moved, or a cell of another machine, counts as the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ...data.files import read_json
from ...data.sources import NEEDED
from ...engine.config import plain, source_of, with_todays_parts
from ...engine.files import sha256_of, sha256_of_split
from ...engine.precision import may_mean
from ...engine.resuming import FREE, PLACES
from ...engine.values import DTYPES

CELLS = "cells"  # folder of a grid's cells
LARGEST = 2**26  # bytes of a record
LABELS = {"detector": str, "assigner": str, "data": str, "seed": int}
CONTENT = {"metrics": dict, "curve": list, "conditions": dict, "versions": dict}


def conditions(config: Mapping[str, Any]) -> dict[str, Any]:
    """A resolved config without places, and what lies there by its SHA-256.

    Raises:
        OSError: when a file that it names is not there.
    """
    kept = json.loads(json.dumps(plain(config)))
    for key in (*FREE, *PLACES):
        *parents, last = key.split(".")
        place = kept
        for name in parents:
            place = place.get(name, {})
        place.pop(last, None)
    source = source_of(config)
    kept["data"] |= {f"{split}_sha256": sha256_of_split(source.place(split), _content_of) for split in NEEDED}
    weights = {name: config.get(name) for name in ("init", "pretrained")}
    return _without_none(kept) | {f"{name}_sha256": _content_of(path) for name, path in weights.items() if path}


def digest(conditions: Mapping[str, Any]) -> str:
    """What tells conditions from others.

    >>> digest({"seed": 0, "amp": False}) == digest({"amp": False, "seed": 0})
    True
    """
    text = json.dumps(conditions, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def make_record(labels: Mapping[str, Any], conditions: Mapping[str, Any], summary: Mapping[str, Any]) -> dict[str, Any]:
    """The record of a cell: its labels (detector, assigner, data, seed), all of the run's summary, and its conditions."""
    return {**labels, **summary, **labels, "conditions_sha256": digest(conditions), "conditions": dict(conditions)}


def read_records(folder: Path) -> list[dict[str, Any]]:
    """The records of a grid's finished cells, by their paths' order.

    Args:
        folder: of the grid.

    Raises:
        ValueError: for a file in the place of a record that is none.
    """
    return [read_record(path) for path in sorted((folder / CELLS).glob("*/*/*-seed*.json"))]


def read_record(path: Path) -> dict[str, Any]:
    """One record, checked: it may come from anywhere.

    Raises:
        ValueError: when it is none.
    """
    record = read_json(path, LARGEST)
    wrong = _wrong(record)
    if wrong:
        raise ValueError(f"{path}: no record of a finished cell ({wrong}); without the file the cell is trained again")
    return _as_trained(record)


def hardware(records: Iterable[Mapping[str, Any]]) -> list[str]:
    """The machines that cells ran on, each once: host, device."""
    return list(dict.fromkeys(f"{record.get('device')} ({record.get('host')})" for record in records))


def _wrong(record: Any) -> str | None:
    if not isinstance(record, dict):
        return "not a dict"
    for name, kind in {**LABELS, **CONTENT}.items():
        if not isinstance(record.get(name), kind) or isinstance(record[name], bool):
            return f"{name} is {'missing' if name not in record else 'no ' + kind.__name__}"
    try:
        sound = digest(record["conditions"]) == record.get("conditions_sha256")
    except ValueError:  # numbers that JSON has no word for
        sound = False
    return None if sound else "its conditions are not those that it was written with"


def _as_trained(record: dict[str, Any]) -> dict[str, Any]:
    """The same in today's form: its parts, and the precision that it came to where conditions left that to the machine."""
    told = with_todays_parts(record["conditions"])
    came_to = record.get("precision")
    if came_to in DTYPES and may_mean(told.get("precision"), came_to):
        told["precision"] = came_to
    return {**record, "conditions": told, "conditions_sha256": digest(told)}


def _without_none(value: Any) -> Any:
    """A key that is left out is None."""
    if not isinstance(value, dict):
        return value
    return {key: _without_none(inner) for key, inner in value.items() if inner is not None}


def _content_of(path: str | Path) -> str:
    """The SHA-256 of a file, which is read once as long as it stays the same."""
    found = Path(path).stat()
    return _sha256(Path(path), found.st_size, found.st_mtime_ns)


@cache
def _sha256(path: Path, size: int, changed: int) -> str:
    return sha256_of(path)
