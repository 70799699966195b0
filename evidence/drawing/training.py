"""A training over its epochs: what its losses were in the mean, and what its evaluations measured."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .fonts import style_of, title_lettering

__all__ = ["draw"]

MOST_LOSSES = 8  # lines: those that weigh most; a decoder of six layers has dozens
MARGINS = {
    "left": 0.06,
    "right": 0.98,
    "bottom": 0.12,
    "top": 0.86,
    "wspace": 0.13,
}  # finding them would take a drawing more
SCORES = {"AP": "black", "AP50": "C0", "AP75": "C2"}
Lines = Sequence[Mapping[str, Any]]


def draw(epochs: Lines, evaluations: Lines, title: str = "") -> Figure:
    """Losses beside AP, over the epochs.

    Args:
        epochs: of each one that is over its "epoch" and the means of its losses, by their names.
        evaluations: of each one the "epoch" after which it was, AP and others in [0, 1], and under "ema" those of averaged
            weights.
        title: of the whole.
    """
    figure = Figure(figsize=(10, 4))
    figure.subplots_adjust(**MARGINS)
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    _draw_losses(left, epochs)
    _draw_scores(right, evaluations)
    for axes, what in ((left, "loss, mean of the epoch"), (right, "AP, %")):
        _finish(axes, what, max([line["epoch"] for line in (*epochs, *evaluations)], default=1))
    shown, font = title_lettering(title)
    figure.suptitle(shown, fontsize=10, parse_math=False, **style_of(font))
    return figure


def _draw_losses(axes: Axes, epochs: Lines) -> None:
    parts = {name for line in epochs for name in line if name.startswith("loss_")}
    weight = {name: max(_number(line.get(name), 0.0) for line in epochs) for name in parts}
    shown = sorted(parts, key=lambda name: (-weight[name], name))[:MOST_LOSSES]
    for name in ("loss", *shown):
        style = {"color": "black"} if name == "loss" else {"linewidth": 1}
        _plot(axes, [(line["epoch"], _number(line.get(name))) for line in epochs], name, **style)


def _draw_scores(axes: Axes, evaluations: Lines) -> None:
    for (name, color), (averaged, style) in _both():
        places = [(line["epoch"], 100 * _number(_of(line, averaged).get(name))) for line in evaluations]
        _plot(axes, places, f"{name}{averaged and ', averaged weights'}", color=color, linestyle=style)


def _both() -> Iterator[tuple[tuple[str, str], tuple[str, str]]]:
    for score in SCORES.items():
        yield score, ("", "-")
        if score[0] == "AP":
            yield score, ("ema", "--")


def _of(line: Mapping[str, Any], part: str) -> Mapping[str, Any]:
    return line.get(part, {}) if part else line


def _number(value: Any, otherwise: float = math.nan) -> float:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else otherwise


def _plot(axes: Axes, places: Sequence[tuple[int, float]], name: str, **style: Any) -> None:
    if any(not math.isnan(height) for _, height in places):
        axes.plot(*zip(*places, strict=True), marker="o", markersize=3, label=name, clip_on=False, **style)


def _finish(axes: Axes, what: str, last: int) -> None:
    axes.set(xlabel="epoch", xlim=(0.5, last + 0.5))
    axes.set_title(what, loc="left", fontsize=10)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend(frameon=False, fontsize=8)
    else:
        axes.text(0.5, 0.5, "nothing measured", ha="center", transform=axes.transAxes)
