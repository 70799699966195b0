"""What the charts of a report show, however they are drawn: lines over the training, and values with intervals."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from matplotlib.ticker import MaxNLocator

from ..statistics import Interval, Sample
from .analysis import DECIDING, Analysis, Entry
from .records import Point, Run

__all__ = ["Chart", "Line", "Mark", "Panel", "Place", "Strip", "charts", "curves", "extent", "legend", "ticks"]

SIZES = {"APs": "small objects", "APm": "medium objects", "APl": "large objects"}
MOST_CLASSES = 24  # in the chart of classes: those in which rows differ most
PERCENT = 100.0


class Place(NamedTuple):
    """A point of a line: where, the mean over seeds, the lowest and the highest seed."""

    x: float
    mean: float
    low: float
    high: float


class Line(NamedTuple):
    """One assigner's way; `from_zero` where it had learned nothing at 0, though that was not measured.

    With `marked` each place has the colour's marker; a curve of many places goes without.
    """

    name: str
    color: int
    places: list[Place]
    from_zero: bool
    marked: bool = True


class Panel(NamedTuple):
    """Lines over one axis."""

    title: str
    x: str
    y: str
    lines: list[Line]


class Mark(NamedTuple):
    """A mean with its interval, where there is one, and the seeds behind it."""

    name: str
    color: int
    value: float
    interval: Interval | None
    singles: list[float]


class Strip(NamedTuple):
    """The marks that share a label."""

    label: str
    marks: list[Mark]


class Chart(NamedTuple):
    """Strips over one axis, which has 0 on it with `zero`, and nothing beyond `limits`."""

    title: str
    axis: str
    strips: list[Strip]
    digits: int
    zero: bool = False
    limits: tuple[float, float] | None = None
    signed: bool = False


def curves(analysis: Analysis) -> list[Panel]:
    """AP over steps and over seconds, a pair of panels for each detector and data set."""
    colors, panels = legend(analysis), []
    for (detector, data), entries in analysis.groups.items():
        title = f"{detector}, {data}" if len(analysis.groups) > 1 else ""
        axes = {"steps": lambda point: float(point.step), "training time, seconds": lambda point: point.seconds}
        for axis, x in axes.items():
            lines = [_line(entry, colors[entry.row.assigner], x) for entry in entries]
            panels.append(Panel(title, axis, "AP, %", [line for line in lines if line.places]))
    return [panel for panel in panels if panel.lines]


def charts(analysis: Analysis) -> dict[str, list[Chart]]:
    """Values with intervals, by what they are of; what was not measured has no chart."""
    found = {
        "ap": [Chart("AP, mean and 95 % interval", "AP, %", _strips(analysis, DECIDING, PERCENT), 1, limits=(0, 100))],
        "differences": [_differences(analysis)],
        "sizes": [_sizes(analysis, entries) for entries in analysis.groups.values()],
        "classes": [_classes(analysis, entries) for entries in analysis.groups.values()],
        "cost": [
            Chart("Time of a step", "seconds per step", _strips(analysis, "seconds_per_step", 1.0), 3, zero=True),
            Chart("Peak memory", "MiB", _strips(analysis, "peak_memory_bytes", 2**-20), 0, zero=True),
        ],
    }
    shown = {key: [chart for chart in several if chart.strips] for key, several in found.items()}
    return {key: several for key, several in shown.items() if several}


def legend(analysis: Analysis) -> dict[str, int]:
    """Colours by assigner."""
    return {name: index for index, name in enumerate(dict.fromkeys(entry.row.assigner for entry in analysis.entries))}


def extent(chart: Chart) -> tuple[float, float]:
    """The ends of a chart's axis."""
    marks = [mark for strip in chart.strips for mark in strip.marks]
    values = [value for mark in marks for value in (mark.value, *mark.singles, *_ends(mark.interval))]
    low, high = min(values + [0.0] * chart.zero), max(values + [0.0] * chart.zero)
    room = 0.06 * (high - low) or 0.06 * abs(high) or 1.0
    low, high = (low if chart.zero and low == 0 else low - room), high + room
    least, most = chart.limits or (low, high)
    return max(low, least), min(high, most)


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers from low to high."""
    found = MaxNLocator(count, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    slack = 1e-9 * (high - low)
    return [float(value) for value in found if low - slack <= value <= high + slack]


def _line(entry: Entry, color: int, x: Callable[[Point], float]) -> Line:
    """Over the evaluations that all seeds have, paired by step."""
    runs = [{point.step: point for point in run.curve} for run in entry.runs if run.curve]
    steps = sorted(set.intersection(*(set(run) for run in runs))) if runs else []
    places = []
    for step in steps:
        values = [PERCENT * run[step].ap for run in runs]
        where = statistics.fmean(x(run[step]) for run in runs)
        places.append(Place(where, statistics.fmean(values), min(values), max(values)))
    return Line(entry.row.assigner, color, places, all(run.untrained for run in entry.runs))


def _strips(analysis: Analysis, measure: str, factor: float) -> list[Strip]:
    """A strip for each row that has the measure."""
    colors = legend(analysis)
    strips = [
        _strip(entry.name, [entry], colors, factor, *_of_measure(measure)) for entry in analysis.entries
    ]  # fmt: skip
    return [strip for strip in strips if strip.marks]


def _strip(
    label: str,
    entries: Sequence[Entry],
    colors: Mapping[str, int],
    factor: float,
    sample: Callable[[Entry], Sample | None],
    single: Callable[[Run], float | None],
) -> Strip:
    """A mark for each row that has the value."""
    marks = []
    for entry in entries:
        if found := sample(entry):
            singles = [value for run in entry.runs if (value := single(run)) is not None]
            marks.append(_mark(entry, colors, found, factor, singles))
    return Strip(label, marks)


def _of_measure(measure: str) -> tuple[Callable[[Entry], Sample | None], Callable[[Run], float | None]]:
    return lambda entry: entry.samples.get(measure), lambda run: run.values.get(measure)


def _of_class(name: str) -> tuple[Callable[[Entry], Sample | None], Callable[[Run], float | None]]:
    return lambda entry: entry.classes.get(name), lambda run: run.classes.get(name)


def _differences(analysis: Analysis) -> Chart:
    colors, strips = legend(analysis), []
    for entry in analysis.compared:
        found = entry.differences[DECIDING]
        label = f"{entry.name} less {analysis.named(entry.against)}" if entry.against else entry.name
        strips.append(Strip(label, [_mark(entry, colors, found.sample, PERCENT, found.values)]))
    return Chart("Difference to the baseline, 95 % interval", "points of AP", strips, 1, zero=True, signed=True)


def _sizes(analysis: Analysis, entries: Sequence[Entry]) -> Chart:
    colors = legend(analysis)
    strips = [_strip(label, entries, colors, PERCENT, *_of_measure(key)) for key, label in SIZES.items()]
    shown = [strip for strip in strips if strip.marks]
    return Chart(_title("By size", analysis, entries), "AP, %", shown, 1, limits=(0, 100))


def _classes(analysis: Analysis, entries: Sequence[Entry]) -> Chart:
    """All classes, or those in which the rows differ most, in the order of the records."""
    colors, names = legend(analysis), analysis.classes
    spread = {name: _range([entry.classes[name].mean for entry in entries if name in entry.classes]) for name in names}
    kept = sorted(names, key=spread.__getitem__, reverse=True)[:MOST_CLASSES]
    strips = [
        _strip(name, entries, colors, PERCENT, *_of_class(name)) for name in names if name in kept
    ]  # fmt: skip
    of = f", the {len(kept)} of {len(names)} in which rows differ most" if len(kept) < len(names) else ""
    shown = [strip for strip in strips if strip.marks]
    return Chart(_title(f"By class{of}", analysis, entries), "AP, %", shown, 1, limits=(0, 100))


def _mark(entry: Entry, colors: Mapping[str, int], sample: Sample, factor: float, singles: Sequence[float]) -> Mark:
    found = sample.interval
    wide = found and Interval(factor * found.low, factor * found.high, found.method)
    own = [factor * value for value in singles] if len(singles) > 1 else []
    return Mark(entry.row.assigner, colors[entry.row.assigner], factor * sample.mean, wide, own)


def _title(what: str, analysis: Analysis, entries: Sequence[Entry]) -> str:
    row = entries[0].row
    return f"{what}: {row.detector}, {row.data}" if len(analysis.groups) > 1 else what


def _ends(interval: Interval | None) -> tuple[float, ...]:
    return (interval.low, interval.high) if interval else ()


def _range(values: Sequence[float]) -> float:
    return max(values) - min(values) if values else 0.0
