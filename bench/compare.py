"""Two runs, or two comparisons, side by side: what differs in their configs and environment, and in everything measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from ..assigners.spec import name_of
from ..data.files import json_text, read_json
from ..engine.config import CONFIG, read
from ..engine.summary import SUMMARY
from ..evidence.report.analysis import DECIDING, Analysis, Entry, analyse
from ..evidence.report.records import Row, Run
from ..evidence.report.tables import document_of_difference
from ..evidence.statistics import Difference, Sample, corrected, paired
from .report import read_records

__all__ = ["LEGEND", "Comparison", "Measured", "Pair", "Side", "compare", "read_side"]

LARGEST = 2**24  # bytes of a summary
NAMES = ("name", "seed")  # keys of a config that are a run's own
LEGEND = (
    "B - A: over the n seeds that both have; [ ]: its 95 % interval; p: exact two-sided sign-flip test, which cannot be below "
    "2^(1-n), for AP with Holm's correction over all rows. Other measures are described and not tested: of twenty that do not "
    "differ, one has a p below 0.05."
)


class Side(NamedTuple):
    """One of the two: its rows, and the configs of its runs as far as they are there."""

    name: str
    analysis: Analysis
    configs: list[Mapping[str, Any]]


@dataclass(frozen=True)
class Measured:
    """A measure on both sides, and the second less the first over the seeds that both have."""

    name: str
    first: Sample | None
    second: Sample | None
    difference: Difference | None


class Pair(NamedTuple):
    """Two rows that answer each other."""

    first: Row
    second: Row
    measures: list[Measured]
    classes: list[Measured]


@dataclass(frozen=True)
class Comparison:
    """All that differs.

    Attributes:
        sides: the two.
        config, environment: values of the two sides by dotted key, where they differ.
        pairs: rows that both have.
        alone: rows of one side only, first and second.
    """

    sides: tuple[Side, Side]
    config: Mapping[str, tuple[list[Any], list[Any]]]
    environment: Mapping[str, tuple[list[Any], list[Any]]]
    pairs: list[Pair]
    alone: tuple[list[Row], list[Row]]

    def to_dict(self) -> dict[str, Any]:
        """Everything for JSON, in a summary's units."""
        first, second = self.sides
        return {
            "a": first.name,
            "b": second.name,
            "config": {key: {"a": own, "b": theirs} for key, (own, theirs) in self.config.items()},
            "environment": {key: {"a": own, "b": theirs} for key, (own, theirs) in self.environment.items()},
            "rows": [
                {
                    "a": pair.first._asdict(),
                    "b": pair.second._asdict(),
                    "measures": {one.name: _document(one) for one in pair.measures},
                    "classes": {one.name: _document(one, tested=False) for one in pair.classes},
                }
                for pair in self.pairs
            ],
            "only_a": [row._asdict() for row in self.alone[0]],
            "only_b": [row._asdict() for row in self.alone[1]],
        }


def read_side(path: Path) -> Side:
    """A run's folder, a comparison's folder, or a comparison's results.json.

    Raises:
        FileNotFoundError: where there is none of them.
        ValueError: for files of something else.
    """
    if path.is_dir() and (path / SUMMARY).is_file():
        config = read(path / CONFIG)
        return Side(str(path), analyse([_record(path, config)], {}, where=str(path)), [config])
    records = read_records(path)
    analysis = analyse(records.runs, records.conditions, where=str(records.where))
    return Side(
        str(path), analysis, [run["conditions"] for run in records.runs if isinstance(run.get("conditions"), dict)]
    )


def compare(first: Side, second: Side) -> Comparison:
    """Everything in which two sides differ."""
    pairs, alone = _paired_rows(first.analysis, second.analysis)
    environment = [
        [run.environment for entry in side.analysis.entries for run in entry.runs] for side in (first, second)
    ]
    conditions = [[side.analysis.conditions] for side in (first, second)]
    configs = [side.configs for side in (first, second)]
    return Comparison(
        (first, second),
        _different(*(configs if all(configs) else conditions), NAMES),
        _different(*environment),
        _corrected([_pair(*both) for both in pairs]),
        alone,
    )


def _record(folder: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """A run's summary with what it was trained of."""
    summary = read_json(folder / SUMMARY, LARGEST)
    if not isinstance(summary, dict):
        raise ValueError(f"{folder / SUMMARY}: expected an object")
    try:
        assigner, data = name_of(config["model"]["head"]["assigner"]), str(config["data"]["name"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{folder / CONFIG}: model.head.assigner or data.name is missing or none") from error
    return {**summary, "detector": "", "assigner": assigner, "data": data}


def _paired_rows(first: Analysis, second: Analysis) -> tuple[list[tuple[Entry, Entry]], tuple[list[Row], list[Row]]]:
    """Rows of both by detector, assigner and data; two single rows answer each other whatever they are."""
    if len(first.entries) == len(second.entries) == 1:
        return [(first.entries[0], second.entries[0])], ([], [])
    others = {entry.row: entry for entry in second.entries}
    pairs = [(entry, others[entry.row]) for entry in first.entries if entry.row in others]
    known = {entry.row for entry, _ in pairs}
    return pairs, tuple([entry.row for entry in side.entries if entry.row not in known] for side in (first, second))


def _pair(first: Entry, second: Entry) -> Pair:
    return Pair(
        first.row,
        second.row,
        _measured(first, second, first.samples, second.samples, lambda run: run.values),
        _measured(first, second, first.classes, second.classes, lambda run: run.classes),
    )


def _measured(
    first: Entry,
    second: Entry,
    own: Mapping[str, Sample],
    theirs: Mapping[str, Sample],
    values: Callable[[Run], Mapping[str, float]],
) -> list[Measured]:
    found = []
    for name in dict.fromkeys([*own, *theirs]):
        later, earlier = (
            {r.seed: values(r)[name] for r in entry.runs if name in values(r)} for entry in (second, first)
        )
        found.append(Measured(name, own.get(name), theirs.get(name), paired(later, earlier)))
    return found


def _corrected(pairs: Sequence[Pair]) -> list[Pair]:
    """The same with Holm's correction of AP over all pairs of rows."""
    tested = [one for pair in pairs for one in pair.measures if one.name == DECIDING and one.difference]
    deciding = iter(corrected([one.difference for one in tested if one.difference]))
    return [pair._replace(measures=[_with(one, deciding) for one in pair.measures]) for pair in pairs]


def _with(one: Measured, deciding: Iterator[Difference]) -> Measured:
    if one.name != DECIDING or one.difference is None:
        return one
    return replace(one, difference=next(deciding))


def _different(
    first: Iterable[Mapping[str, Any]], second: Iterable[Mapping[str, Any]], without: Sequence[str] = ()
) -> dict[str, tuple[list[Any], list[Any]]]:
    """Dotted keys whose values differ, with all that each side has of them."""
    own, theirs = _by_key(first), _by_key(second)
    keys = [key for key in dict.fromkeys([*own, *theirs]) if key not in without]
    found = {key: (own.get(key, {}), theirs.get(key, {})) for key in keys}
    return {key: ([*one.values()], [*two.values()]) for key, (one, two) in found.items() if one.keys() != two.keys()}


def _by_key(several: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The values of every dotted key, each once, by their JSON."""
    found: dict[str, dict[str, Any]] = {}
    for one in several:
        for key, value in _flat(one):
            found.setdefault(key, {})[json_text(value)] = value
    return found


def _flat(mapping: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in mapping.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _document(one: Measured, tested: bool = True) -> dict[str, Any]:
    return {
        "a": one.first and one.first.mean,
        "b": one.second and one.second.mean,
        "difference": one.difference and document_of_difference(one.difference, tested),
    }
