"""What telemetry saw of a comparison's runs, epoch by epoch, as panels of lines."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from ..telemetry.sizes import SIZES
from .analysis import Analysis, Entry
from .records import WITHOUT
from .views import Line, Panel, Place, legend

__all__ = ["looks"]

SHOWN = {
    "instability": ("instability, samples per image", 1.0),
    "moved": ("weight that moved since the epoch before, %", 100.0),
    **{f"{WITHOUT} {size}": (f"{size} objects that no sample learns, %", 100.0) for size in SIZES},
}
"""Name of a number -> what it is, and what it is multiplied by."""


def looks(analysis: Analysis) -> list[Panel]:
    """A panel for each number that was seen, of each detector and data set; none of runs without telemetry."""
    colors, panels = legend(analysis), []
    for (detector, data), entries in analysis.groups.items():
        title = f"{detector}, {data}" if len(analysis.groups) > 1 else ""
        for name, (what, factor) in SHOWN.items():
            lines = [_line(entry, colors[entry.row.assigner], name, factor) for entry in entries]
            panels.append(Panel(title, "epoch", what, [line for line in lines if line.places]))
    return [panel for panel in panels if panel.lines]


def _line(entry: Entry, color: int, name: str, factor: float) -> Line:
    """Over the epochs at which all seeds have the number."""
    runs = [{int(look["epoch"]): factor * look[name] for look in run.telemetry if name in look} for run in entry.runs]
    epochs = sorted(set.intersection(*map(set, runs))) if runs else []
    return Line(entry.row.assigner, color, [_place(epoch, [run[epoch] for run in runs]) for epoch in epochs], False)


def _place(epoch: int, values: Sequence[float]) -> Place:
    return Place(epoch, statistics.fmean(values), min(values), max(values))
