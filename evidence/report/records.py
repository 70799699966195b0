"""The runs of a comparison as they are read: from records that may be somebody else's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

__all__ = ["CLASSES", "MEASURES", "METRICS", "WITHOUT", "Point", "Row", "Run", "read_runs"]

METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl")
WITHOUT = "without"  # of telemetry: share of objects that no sample learns
CLASSES = "classes"  # of the metrics: AP by class name
COSTS = ("seconds_per_step", "assignment_share", "peak_memory_bytes", "parameters", "steps")
POSITIVES = ("positives_per_target", "effective_positives_per_target", "targets_without_positive")
MEASURES = (*METRICS, *POSITIVES, *COSTS)
ENVIRONMENT = ("device", "host", "commit", "processes", "precision", "max_detections", "steps", "versions")


class Row(NamedTuple):
    """A detector under an assigner on a data set: what is repeated over seeds."""

    detector: str
    assigner: str
    data: str

    def told(self, others: Sequence[Row]) -> str:
        """The row's name among others: what all have in common is left out.

        >>> Row("fcos_tiny", "dw", "shapes").told([Row("fcos_tiny", "atss", "shapes")])
        'dw'
        >>> Row("fcos_tiny", "dw", "shapes").told([Row("dino_r18_tiny", "dw", "shapes")])
        'fcos_tiny dw'
        """
        detector = f"{self.detector} " if any(row.detector != self.detector for row in others) else ""
        data = f" on {self.data}" if any(row.data != self.data for row in others) else ""
        return f"{detector}{self.assigner}{data}"


class Point(NamedTuple):
    """An evaluation: after so many steps and seconds of training, AP in [0, 1]."""

    step: int
    seconds: float
    ap: float


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        row: what was trained.
        seed: of everything random.
        values: by measure, in a summary's units: shares of 1, seconds, bytes. What was not measured is not there.
        classes: AP in [0, 1] by class name, of classes with objects.
        curve: evaluations in the order of the training.
        untrained: whether the detector had learned nothing at second 0; of older records nobody knows, which is False.
        telemetry: of every epoch "epoch" and the numbers that telemetry saw, by name; empty where it was off.
        environment: device, host, commit, versions and what else numbers hang on, by dotted name, in words.
    """

    row: Row
    seed: int
    values: Mapping[str, float]
    classes: Mapping[str, float]
    curve: tuple[Point, ...]
    untrained: bool
    environment: Mapping[str, str]
    telemetry: tuple[Mapping[str, float], ...] = ()


def read_runs(records: Sequence[Any], conditions: Mapping[str, Any], where: str = "records") -> list[Run]:
    """The runs of records, each a run's summary with "assigner", "detector" and "data"; conditions name what they leave out.

    Raises:
        ValueError: for what is no such record, and for two runs of one row and seed.
    """
    runs: dict[tuple[Row, int], Run] = {}
    for number, record in enumerate(records, 1):
        run = _run(record, conditions, f"{where}: run {number}")
        if (run.row, run.seed) in runs:
            raise ValueError(f"{where}: run {number} is a second one of {run.row.assigner!r} with seed {run.seed}")
        runs[run.row, run.seed] = run
    if not runs:
        raise ValueError(f"{where}: holds no run")
    return [*runs.values()]


def _run(record: Any, conditions: Mapping[str, Any], where: str) -> Run:
    if not isinstance(record, Mapping):
        raise ValueError(f"{where}: expected an object, got {type(record).__name__}")
    metrics = record.get("metrics")
    if not isinstance(metrics, Mapping):
        raise ValueError(f"{where}: 'metrics' is missing or no object")
    classes = metrics.get(CLASSES)
    return Run(
        Row(*(_name(record, conditions, key, where) for key in Row._fields)),
        _seed(record, where),
        _numbers({**{key: record.get(key) for key in MEASURES}, **{key: metrics.get(key) for key in METRICS}}),
        _numbers(classes) if isinstance(classes, Mapping) else {},
        _curve(record.get("curve"), where),
        record.get("init", "unknown") is None,
        dict(_environment(record)),
        _telemetry(record.get("telemetry"), where),
    )


def _name(record: Mapping[str, Any], conditions: Mapping[str, Any], key: str, where: str) -> str:
    name = record.get(key, conditions.get(key, "" if key != "assigner" else None))
    if not isinstance(name, str):
        raise ValueError(f"{where}: {key!r} is missing or no text")
    return name


def _seed(record: Mapping[str, Any], where: str) -> int:
    seed = record.get("seed")
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise ValueError(f"{where}: 'seed' is missing or no whole number")
    return seed


def _curve(points: Any, where: str) -> tuple[Point, ...]:
    """Evaluations that have a step, a time and an AP."""
    if points is None:
        return ()
    if not isinstance(points, Sequence) or not all(isinstance(point, Mapping) for point in points):
        raise ValueError(f"{where}: 'curve' is no list of objects")
    whole = [read for point in points if {"step", "train_seconds", "AP"} <= (read := _numbers(point)).keys()]
    return tuple(Point(int(one["step"]), one["train_seconds"], one["AP"]) for one in whole)


def _telemetry(looks: Any, where: str) -> tuple[Mapping[str, float], ...]:
    """Numbers of epochs; those by size have the size behind their name."""
    if looks is None:
        return ()
    if not isinstance(looks, Sequence) or not all(isinstance(look, Mapping) for look in looks):
        raise ValueError(f"{where}: 'telemetry' is no list of objects")
    found = [{**_numbers(look), **_by_size(look.get(f"{WITHOUT}_by_size"))} for look in looks]
    return tuple(look for look in found if "epoch" in look)


def _by_size(values: Any) -> dict[str, float]:
    numbers = _numbers(values) if isinstance(values, Mapping) else {}
    return {f"{WITHOUT} {size}": value for size, value in numbers.items()}


def _numbers(values: Mapping[Any, Any]) -> dict[str, float]:
    """What of a mapping is a finite number."""
    return {str(key): float(value) for key, value in values.items() if _is_number(value)}


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < 1e300 and math.isfinite(value)  # JSON's whole numbers may be longer than any float


def _environment(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    told = []
    for key in ENVIRONMENT:
        value = record.get(key)
        if isinstance(value, Mapping):
            told += [(f"{key}.{inner}", str(one)) for inner, one in value.items()]
        elif value is not None:
            told.append((key, str(value)))
    return told
