"""What assigners give the objects of a split, as a picture: means over sizes, and how two numbers are spread."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter, ScalarFormatter

from ..inspection.split import SplitStatistics
from .canvas import DPI
from .fonts import style_of, title_lettering
from .theme import theme

SIZE = (1320, 860)  # pixels
LEGEND_COLUMNS = 6
HEADROOM = 1.15  # of an axis above its highest mean
LINES = (
    "#e8590c",
    "#1c7ed6",
    "#2f9e44",
    "#ae3ec9",
    "#e03131",
    "#0c8599",
    "#f08c00",
    "#868e96",
)  # seen on either ground
MEANS = {
    "positives": "positives per object",
    "effective": "effective positives per object",
    "without_share": "objects without a sample",
    "best_iou": "best IoU of an object's samples",
}
SPREADS = {"best_share": "share of w⁺ in the best pair", "best_iou": "best IoU of an object's samples"}


def draw(statistics: SplitStatistics, title: str) -> Figure:
    """Four means by the size of the objects, and the spread of two numbers over the objects that have samples."""
    figure = Figure(figsize=(SIZE[0] / DPI, SIZE[1] / DPI), dpi=DPI, facecolor=theme().ground)
    FigureCanvasAgg(figure)
    shown, font = title_lettering(title)
    style = {"color": theme().ink, "parse_math": False, "fontsize": 11, **style_of(font)}
    figure.text(0.02, 0.97, shown, va="top", **style)
    axes = figure.subplots(
        2, 3, gridspec_kw={"left": 0.06, "right": 0.98, "top": 0.86, "bottom": 0.08, "hspace": 0.34, "wspace": 0.24}
    ).ravel()
    for panel, (key, name) in zip(axes, MEANS.items(), strict=False):
        _draw_means(panel, statistics, key)
        _dress(panel, name, "side of the object, pixels as stored")
    for key in ("positives", "effective"):
        panel = axes[[*MEANS].index(key)]
        panel.set_yscale("symlog", linthresh=1)
        panel.yaxis.set_major_formatter(ScalarFormatter())
    axes[[*MEANS].index("without_share")].yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    for panel in axes[: len(MEANS)]:
        panel.set_ylim(0, panel.dataLim.y1 * HEADROOM or 1)
    axes[[*MEANS].index("best_iou")].set_ylim(0, 1)
    for panel, (key, name) in zip(axes[len(MEANS) :], SPREADS.items(), strict=True):
        _draw_spread(panel, statistics, key)
        _dress(panel, "objects with less", name)
    lines = axes[0].get_lines()
    figure.legend(
        lines,
        [title_lettering(name).text for name in statistics.names],
        loc="upper left",
        bbox_to_anchor=(0.015, 0.945),
        ncols=LEGEND_COLUMNS,
        frameon=False,
        labelcolor=theme().ink,
        fontsize=9,
    )
    return figure


def _draw_means(panel: Axes, statistics: SplitStatistics, key: str) -> None:
    """A line per assigner over octaves of size; the number of objects above."""
    octaves = statistics.octaves()
    places = np.arange(len(octaves))
    for number in range(len(statistics.names)):
        values = [statistics.summary(number, *limits)[key] for limits in octaves]
        values = [np.nan if value is None else value for value in values]
        panel.plot(places, values, color=_color(number), marker="o", markersize=4, linewidth=1.6)
    counts = [statistics.summary(0, *limits)["objects"] for limits in octaves]
    names = [f"{low:g}–{high:g}\n{count}" for (low, high), count in zip(octaves, counts, strict=True)]
    panel.set_xticks(places, names)


def _draw_spread(panel: Axes, statistics: SplitStatistics, key: str) -> None:
    """The share of the objects that have less than a value, for every value."""
    for number in range(len(statistics.names)):
        values = getattr(statistics, key)[number]
        values = np.sort(values[~np.isnan(values)])
        if len(values):
            steps = np.linspace(0, 1, len(values) + 1)
            panel.step([0, *values, 1], [*steps, 1], color=_color(number), linewidth=1.6, where="post")
    panel.set(xlim=(0, 1), ylim=(0, 1))
    panel.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))


def _dress(panel: Axes, name: str, below: str) -> None:
    panel.set_facecolor(theme().ground)
    panel.set_title(name, color=theme().ink, fontsize=10)
    panel.set_xlabel(below, color=theme().soft, fontsize=9)
    panel.tick_params(colors=theme().soft, labelsize=8)
    panel.grid(color=theme().edge, alpha=0.35, linewidth=0.6)
    for spine in panel.spines.values():
        spine.set_color(theme().edge)


def _color(number: int) -> str:
    return LINES[number % len(LINES)]
