"""What the runs of a comparison come to: rows over their seeds, and their differences to a baseline."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..statistics import (
    Difference,
    Interval,
    Sample,
    bootstrap_interval,
    corrected,
    deviation_limits,
    paired,
    seeds_needed,
    summarise,
)
from .records import MEASURES, Row, Run, read_runs

__all__ = ["DECIDING", "WORTH", "Analysis", "Entry", "Need", "analyse"]

WORTH = 0.005  # half a point of AP: the difference that seeds are counted for
DECIDING = "AP"  # the measure that is tested; all others are described


@dataclass(frozen=True)
class Need:
    """Seeds that would see a difference of `WORTH`; `least` and `most` by the 95 % limits of a spread known from few seeds.

    None stands for more than a million.
    """

    seeds: int | None
    least: int | None
    most: int | None


@dataclass(frozen=True)
class Entry:
    """A row of the report.

    Attributes:
        row: detector, assigner and data.
        name: what tells it from the others.
        runs: by seed.
        samples, classes: over the seeds, by measure and by class name.
        bootstrap: 95 % BCa bootstrap interval of the AP, whatever the interval shown is.
        against: the row that is its baseline; None for a baseline itself, and where there is none.
        differences: to the baseline over common seeds, by measure; that of AP with Holm's correction over all rows.
        class_differences: the same by class name.
    """

    row: Row
    name: str
    runs: tuple[Run, ...]
    samples: Mapping[str, Sample]
    classes: Mapping[str, Sample]
    bootstrap: Interval | None
    against: Row | None
    differences: Mapping[str, Difference]
    class_differences: Mapping[str, Difference]

    @property
    def seeds(self) -> list[int]:
        return [run.seed for run in self.runs]

    def values(self, measure: str) -> list[float]:
        """Of the seeds that have it."""
        return [run.values[measure] for run in self.runs if measure in run.values]

    def need(self) -> Need | None:
        """How many seeds would see `WORTH`; None without two differences."""
        difference = self.differences.get(DECIDING)
        if difference is None or difference.sample.deviation is None:
            return None
        low, high = deviation_limits(difference.sample.deviation, difference.sample.count)
        return Need(*(seeds_needed(WORTH, spread) for spread in (difference.sample.deviation, low, high)))


@dataclass(frozen=True)
class Analysis:
    """All that a report tells.

    Attributes:
        conditions: that held for every run, as told.
        entries: in the order of the records.
        classes: names in the order of the records.
    """

    conditions: Mapping[str, Any]
    entries: tuple[Entry, ...]
    classes: tuple[str, ...]

    @property
    def compared(self) -> list[Entry]:
        """Entries with a tested difference."""
        return [entry for entry in self.entries if DECIDING in entry.differences]

    @property
    def groups(self) -> dict[tuple[str, str], list[Entry]]:
        """Entries of one detector on one data set, which are like for like but for the assigner."""
        found: dict[tuple[str, str], list[Entry]] = {}
        for entry in self.entries:
            found.setdefault((entry.row.detector, entry.row.data), []).append(entry)
        return found

    @property
    def heading(self) -> str:
        """What the names of the rows are."""
        return "assigner" if len(self.groups) == 1 else "row"

    def named(self, row: Row) -> str:
        """The name of a row."""
        return next(entry.name for entry in self.entries if entry.row == row)


def analyse(
    records: Sequence[Any], conditions: Mapping[str, Any], baseline: str | None = None, where: str = "records"
) -> Analysis:
    """Statistics of a comparison's records.

    Args:
        records: see `records.read_runs`.
        conditions: that held for every run.
        baseline: an assigner; the first row of each detector and data set if left out.
        where: the records are from, for messages.

    Raises:
        ValueError: for what is no record, and for a baseline that no row has.
    """
    rows: dict[Row, list[Run]] = {}
    for run in read_runs(records, conditions, where):
        rows.setdefault(run.row, []).append(run)
    if baseline is not None and baseline not in (there := list(dict.fromkeys(row.assigner for row in rows))):
        raise ValueError(f"baseline: no row has the assigner {baseline!r}; there are {', '.join(there)}")
    entries = [_entry(row, rows, _against(row, rows, baseline)) for row in rows]
    names = dict.fromkeys(name for runs in rows.values() for run in runs for name in run.classes)
    return Analysis(dict(conditions), tuple(_corrected(entries)), tuple(names))


def _against(row: Row, rows: Mapping[Row, Any], baseline: str | None) -> Row | None:
    alike = [other for other in rows if (other.detector, other.data) == (row.detector, row.data)]
    chosen = [other for other in alike if other.assigner == baseline] if baseline is not None else alike[:1]
    return chosen[0] if chosen and chosen[0] != row else None


def _entry(row: Row, rows: Mapping[Row, Sequence[Run]], against: Row | None) -> Entry:
    runs, others = rows[row], rows[against] if against else ()
    by_measure = [_by_seed(each, MEASURES, lambda run: run.values) for each in (runs, others)]
    names = list(dict.fromkeys(name for run in runs for name in run.classes))
    by_class = [_by_seed(each, names, lambda run: run.classes) for each in (runs, others)]
    ap = by_measure[0].get(DECIDING)
    return Entry(
        row,
        row.told([*rows]),
        tuple(sorted(runs, key=lambda run: run.seed)),
        {name: summarise([*values.values()]) for name, values in by_measure[0].items()},
        {name: summarise([*values.values()]) for name, values in by_class[0].items()},
        bootstrap_interval([*ap.values()]) if ap else None,
        against,
        _differences(*by_measure),
        _differences(*by_class),
    )


def _by_seed(
    runs: Sequence[Run], names: Sequence[str], values: Callable[[Run], Mapping[str, float]]
) -> dict[str, dict[int, float]]:
    """What was measured, by name and seed."""
    found: dict[str, dict[int, float]] = {}
    for name in names:
        if measured := {run.seed: values(run)[name] for run in runs if name in values(run)}:
            found[name] = measured
    return found


def _differences(
    own: Mapping[str, Mapping[int, float]], theirs: Mapping[str, Mapping[int, float]]
) -> dict[str, Difference]:
    found = {name: paired(values, theirs[name]) for name, values in own.items() if name in theirs}
    return {name: difference for name, difference in found.items() if difference}


def _corrected(entries: Sequence[Entry]) -> list[Entry]:
    """The same with Holm's correction of the deciding measure over all rows."""
    compared = [entry for entry in entries if DECIDING in entry.differences]
    deciding = corrected([entry.differences[DECIDING] for entry in compared])
    known = dict(zip((entry.row for entry in compared), deciding, strict=True))
    return [_with(entry, known[entry.row]) if entry.row in known else entry for entry in entries]


def _with(entry: Entry, deciding: Difference) -> Entry:
    return replace(entry, differences={**entry.differences, DECIDING: deciding})
