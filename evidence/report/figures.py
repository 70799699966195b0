"""Charts for a paper, by matplotlib: PDF with fonts that stay text, and PNG."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from math import ceil

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

from ..drawing.fonts import style_of, title_lettering
from .analysis import Analysis
from .looks import looks
from .views import Chart, Line, Panel, charts, curves, extent, ticks

__all__ = ["FORMATS", "figures", "pictures"]

FORMATS = ("pdf", "png")
COLORS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#b8860b",
    "#56b4e9",
    "#882255",
    "#555555",
)  # told apart by most eyes
MARKERS = ("o", "s", "^", "D")
WIDTH, COLUMN = 7.0, 3.5  # inches: a page's text, one of two columns
SINGLE = 4.5  # inches: a panel by itself
ROW, PANEL = 0.16, 2.4  # inches: a mark of a chart, the height of a panel
DPI = 200
LONGEST = 32  # letters of a label
SETTINGS = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "pdf.fonttype": 42,  # TrueType: what most journals ask for
    "axes.unicode_minus": True,
}


def figures(analysis: Analysis) -> dict[str, dict[str, bytes]]:
    """The content of each figure by name and format: curves, ap, differences, sizes, classes, cost, telemetry, as far as
    measured.
    """
    with matplotlib.rc_context(SETTINGS):
        drawn = {key: _chart_figure(several) for key, several in charts(analysis).items()}
        if panels := curves(analysis):
            drawn = {"curves": _curve_figure(panels), **drawn}
        if panels := looks(analysis):
            drawn["telemetry"] = _curve_figure(panels)
        return {key: {kind: _saved(figure, kind) for kind in FORMATS} for key, figure in drawn.items()}


def pictures(drawn: Mapping[str, Panel | Chart]) -> dict[str, bytes]:
    """A PNG of each panel and chart, by name."""
    with matplotlib.rc_context(SETTINGS):
        made = {
            name: _panel_figure(one) if isinstance(one, Panel) else _chart_figure([one]) for name, one in drawn.items()
        }
        return {name: _saved(figure, "png") for name, figure in made.items()}


def _panel_figure(panel: Panel) -> Figure:
    """One panel and its legend."""
    names = [(line.name, line.color) for line in panel.lines]
    figure = _new(SINGLE, SINGLE * 0.7 + _height_of_legend(names, SINGLE))
    _panel(figure.subplots(), panel)
    _legend(figure, names, SINGLE, all(line.marked for line in panel.lines))
    return figure


def _curve_figure(panels: Sequence[Panel]) -> Figure:
    """Two panels in a row and one legend for all."""
    names = list(dict.fromkeys((line.name, line.color) for panel in panels for line in panel.lines))
    rows = ceil(len(panels) / 2)
    figure = _new(WIDTH, PANEL * rows + _height_of_legend(names, WIDTH))
    for ax, panel in zip_longest(figure.subplots(rows, 2, squeeze=False).flat, panels):
        _panel(ax, panel) if panel else ax.remove()
    _legend(figure, names, WIDTH)
    return figure


def _panel(ax: Axes, panel: Panel) -> None:
    for line in panel.lines:
        _way(ax, line)
    ax.set_xlim(0, None)
    ax.set_ylim(0, None)
    _write(ax.xaxis.label, panel.x)
    _write(ax.yaxis.label, panel.y)
    _write(ax.title, panel.title)
    ax.grid(alpha=0.3, linewidth=0.5)


def _way(ax: Axes, line: Line) -> None:
    x = [place.x for place in line.places]
    marker = _marker(line.color) if line.marked else ""
    color, style = _color(line.color), {"marker": marker, "linestyle": _style(line.color)}
    ax.plot(x, [place.mean for place in line.places], color=color, ms=2.5, lw=1.2, **style)
    if any(place.high > place.low for place in line.places):
        low, high = [place.low for place in line.places], [place.high for place in line.places]
        ax.fill_between(x, low, high, color=color, alpha=0.2, lw=0)
    if line.from_zero and x[0] > 0:
        ax.plot([0, x[0]], [0, line.places[0].mean], ":", color=color, lw=0.9)


def _chart_figure(several: Sequence[Chart]) -> Figure:
    """One chart a column wide, or two beside each other in each row; a legend where strips have several marks."""
    beside = min(len(several), 2)
    rows = [several[start : start + beside] for start in range(0, len(several), beside)]
    heights, width = [max(map(_height, row)) for row in rows], (COLUMN, WIDTH)[beside - 1]
    named = dict.fromkeys(
        (mark.name, mark.color) for chart in several for strip in chart.strips for mark in strip.marks
    )
    shared = any(len(strip.marks) > 1 for chart in several for strip in chart.strips)
    names = list(named) if shared else []
    figure = _new(width, sum(heights) + _height_of_legend(names, width))
    axes = figure.subplots(len(rows), beside, squeeze=False, height_ratios=heights).flat
    for ax, chart in zip(axes, several, strict=False):
        _chart(ax, chart)
    for ax in figure.axes[len(several) :]:
        ax.remove()
    _legend(figure, names, width)
    return figure


def _height(chart: Chart) -> float:
    return 0.7 + ROW * sum(len(strip.marks) + 0.6 for strip in chart.strips)


def _chart(ax: Axes, chart: Chart) -> None:
    """Strips from the top, a line for each mark."""
    y, places = 0.0, []
    for strip in chart.strips:
        places.append(y + (len(strip.marks) - 1) / 2)
        for mark in strip.marks:
            color = _color(mark.color)
            if mark.interval:
                ax.plot([mark.interval.low, mark.interval.high], [y, y], color=color, lw=1.2, marker="|", ms=4)
            ax.plot(mark.singles, [y] * len(mark.singles), "o", color=color, ms=3, mfc="none", mew=0.6, alpha=0.7)
            ax.plot([mark.value], [y], _marker(mark.color), color=color, ms=4)
            y += 1
        y += 0.6
    low, high = extent(chart)
    ax.set(xlim=(low, high), ylim=(y - 0.4, -0.8), xticks=ticks(low, high), yticks=places)
    labels = [title_lettering(_short(strip.label)) for strip in chart.strips]
    ax.set_yticklabels([label.text for label in labels])
    for shown, label in zip(ax.get_yticklabels(), labels, strict=True):
        shown.set(parse_math=False, **style_of(label.font))
    ax.tick_params(axis="y", length=0)
    if chart.zero:
        ax.axvline(0, color="#777777", lw=0.8)
    _write(ax.title, chart.title)
    _write(ax.xaxis.label, chart.axis)
    ax.grid(axis="x", alpha=0.3, linewidth=0.5)


def _legend(figure: Figure, names: Sequence[tuple[str, int]], width: float, marked: bool = True) -> None:
    if not names:
        return
    handles = [
        Line2D(
            [], [], color=_color(color), marker=_marker(color) if marked else "", linestyle=_style(color), ms=4, lw=1.2
        )
        for _, color in names
    ]
    columns = _columns(names, width)
    box = figure.legend(handles, [" "] * len(names), loc="outside upper center", ncols=columns, frameon=False)
    for entry, (name, _) in zip(box.get_texts(), names, strict=True):
        _write(entry, _short(name))


def _columns(names: Sequence[tuple[str, int]], width: float) -> int:
    """Of a legend in which the longest name has room."""
    longest = max(len(_short(name)) for name, _ in names)
    return max(1, min(len(names), int(width / (0.45 + 0.065 * longest))))


def _height_of_legend(names: Sequence[tuple[str, int]], width: float) -> float:
    return 0.2 * ceil(len(names) / _columns(names, width)) if names else 0.0


def _write(place: Text, content: str) -> None:
    """Anybody's text, whose dollar signs are no formula, in a font that has its letters."""
    shown, font = title_lettering(content)
    place.set(text=shown, parse_math=False, **style_of(font))


def _short(name: str) -> str:
    return name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"


def _new(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _saved(figure: Figure, kind: str) -> bytes:
    """The same bytes for the same numbers."""
    _keep_titles_inside(figure)
    buffer = io.BytesIO()
    dated = {"CreationDate": None} if kind == "pdf" else {}
    figure.savefig(buffer, format=kind, dpi=DPI, metadata=dated)
    return buffer.getvalue()


def _keep_titles_inside(figure: Figure) -> None:
    """Titles are centred over axes, which long labels make narrower than the title."""
    figure.draw_without_rendering()
    for ax in figure.axes:
        beyond = ax.title.get_window_extent().x1 - figure.bbox.x1
        if beyond > 0:
            ax.title.set_x(ax.title.get_position()[0] - beyond / ax.bbox.width)


def _color(index: int) -> str:
    return COLORS[index % len(COLORS)]


def _marker(index: int) -> str:
    return MARKERS[index % len(MARKERS)]


def _style(index: int) -> str:
    return "--" if index >= len(COLORS) else "-"
