"""Telemetry of a run over its epochs: how steady its assignment was, and whom it served."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..telemetry.sizes import SIZES
from .fonts import style_of, title_lettering

__all__ = ["draw", "draw_coverage", "draw_instability", "draw_moved", "draw_without", "names", "values"]

COLOURS = dict(zip(SIZES, ("C3", "C0", "C2"), strict=True))
Lines = Sequence[Mapping[str, Any]]
"""The lines of metrics.jsonl that have "telemetry", in order."""


def draw(lines: Lines, title: str = "") -> Figure:
    """Four panels over the epochs: instability, what moved, samples per object, objects without one."""
    figure = Figure(figsize=(11, 7), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, panel in zip(
        figure.subplots(2, 2).flat, (draw_instability, draw_moved, draw_coverage, draw_without), strict=True
    ):
        panel(axes, lines)
    shown, font = title_lettering(title)
    figure.suptitle(shown, fontsize=10, parse_math=False, **style_of(font))
    return figure


def draw_instability(axes: Axes, lines: Lines) -> None:
    """Samples that learn another object than after the epoch before, per image; of a decoder, in every layer."""
    layers = names(lines, "probe", "instability_by_layer")
    for place, layer in enumerate(layers):
        shade = {"color": "C0", "alpha": (place + 1) / (len(layers) + 1), "linewidth": 1}
        name = f"layer {layer}" if layer.isdecimal() else layer
        _plot(axes, lines, ("probe", "instability_by_layer", layer), name, **shade)
    _plot(axes, lines, ("probe", "instability"), "layer that detects" if layers else "", color="black")
    _finish(axes, lines, "instability, samples per image")


def draw_moved(axes: Axes, lines: Lines) -> None:
    """Share of an object's w⁺ that is with other samples than after the epoch before, by size."""
    for size in SIZES:
        _plot(axes, lines, ("probe", "moved_by_size", size), size, 100, color=COLOURS[size])
    _plot(axes, lines, ("probe", "moved"), "all", 100, color="black")
    _finish(axes, lines, "weight that moved, %")


def draw_coverage(axes: Axes, lines: Lines) -> None:
    """Samples per object in training steps, by size."""
    for size in SIZES:
        _plot(axes, lines, ("steps", "positives_by_size", size), size, color=COLOURS[size])
    _finish(axes, lines, "samples per object")


def draw_without(axes: Axes, lines: Lines) -> None:
    """Objects that no sample learns in training steps, by size."""
    for size in SIZES:
        _plot(axes, lines, ("steps", "without_by_size", size), size, 100, color=COLOURS[size])
    _finish(axes, lines, "objects without a sample, %")


def values(lines: Lines, *keys: str) -> list[float]:
    """The number under these keys of every line's telemetry, NaN where there is none.

    >>> values([{"telemetry": {"probe": {"moved": 0.5}}}, {"telemetry": {"probe": None}}], "probe", "moved")
    [0.5, nan]
    """
    found = []
    for line in lines:
        place: Any = line["telemetry"]
        for key in keys:
            place = place.get(key) if isinstance(place, Mapping) else None
        found.append(float(place) if isinstance(place, int | float) and not isinstance(place, bool) else math.nan)
    return found


def names(lines: Lines, *keys: str) -> list[str]:
    """The keys of the mapping that lies under these keys, of the last line that has one."""
    for line in reversed(lines):
        place: Any = line["telemetry"]
        for key in keys:
            place = place.get(key) if isinstance(place, Mapping) else None
        if isinstance(place, Mapping):
            return list(place)
    return []


def _plot(axes: Axes, lines: Lines, keys: tuple[str, ...], name: str, factor: float = 1.0, **style: Any) -> None:
    heights = [factor * value for value in values(lines, *keys)]
    if not all(map(math.isnan, heights)):
        epochs = [line["epoch"] for line in lines]
        axes.plot(epochs, heights, marker="o", markersize=3, label=name, clip_on=False, **style)


def _finish(axes: Axes, lines: Lines, what: str) -> None:
    axes.set(xlabel="epoch", ylabel=what)
    axes.set_ylim(bottom=0)
    axes.set_xlim(lines[0]["epoch"] - 0.5, lines[-1]["epoch"] + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(alpha=0.3)
    named = [line for line in axes.lines if line.get_label() and not line.get_label().startswith("_")]
    if named:
        axes.legend(handles=named, frameon=False, fontsize=8)
    if not axes.lines:
        axes.text(0.5, 0.5, "nothing to compare yet", ha="center", transform=axes.transAxes)
