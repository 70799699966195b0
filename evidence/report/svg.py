"""Charts as SVG inside a page: colours are the page's, a value is told where the pointer rests."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from ..words import printable, three_digits
from .views import Chart, Line, Mark, Panel, Place, Strip, extent, ticks

__all__ = ["draw_chart", "draw_key", "draw_panel", "text"]

WIDTH, HEIGHT = 380, 250  # of a panel, in units that are pixels where a chart has its natural size
LEFT, RIGHT, TOP, BOTTOM = 42, 12, 22, 40  # pixels around a panel's lines
COLORS = 8  # of the page, named c0, c1, …; from there on lines are dashed
LABEL, MARK, GAP, VALUE = 17, 15, 7, 52  # pixels: a strip's label, a mark, between strips, the column of values
LONGEST = 46  # letters of a label


def text(content: str) -> str:
    """Anybody's text as a page's: in one line, nothing of it is markup."""
    return escape(" ".join(printable(content).split()))


def draw_panel(panel: Panel) -> str:
    """Lines with the range of their seeds as bands."""
    places = [place for line in panel.lines for place in line.places]
    right, top = max(place.x for place in places), max(max(place.high for place in places), 1e-3)
    scale = _Scale(0, right, LEFT, WIDTH - RIGHT), _Scale(0, 1.05 * top, HEIGHT - BOTTOM, TOP)
    parts = [*_grid(*scale), *_names(panel)]
    parts += [_band(line, *scale) for line in panel.lines]
    parts += [_way(line, *scale) for line in panel.lines]
    told = f"{panel.y} over {panel.x}" + (f", {panel.title}" if panel.title else "")
    return _svg(parts, HEIGHT, told)


def draw_chart(chart: Chart) -> str:
    """Strips of marks, each with its interval and the seeds behind it."""
    along = _Scale(*extent(chart), 10, WIDTH - VALUE - 10)
    parts, top = [], 4
    for strip in chart.strips:
        parts.append(_label(strip, top))
        for index, mark in enumerate(strip.marks):
            parts.append(_mark(mark, chart, along, top + LABEL + MARK * index + MARK / 2))
        top += LABEL + MARK * len(strip.marks) + GAP
    return _svg([*_axis(chart, along, top), *parts], top + 38, f"{chart.title}: {chart.axis}")


def draw_key(color: int, marked: bool = True) -> str:
    """A piece of an assigner's line with its marker, for a legend."""
    line = f'<path class="way" d="M1 6H33"{_dash(color)}/>{_sign(color, 17, 6, 4) if marked else ""}'
    return f'<svg viewBox="0 0 34 12" aria-hidden="true" class="{_class(color)}">{line}</svg>'


class _Scale:
    """From values to pixels."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self.low, self.high, self.start, self.end = low, high if high > low else low + 1, start, end

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + min(max(share, -0.02), 1.02) * (self.end - self.start), 1)

    def ticks(self) -> list[float]:
        return ticks(self.low, self.high)


def _svg(parts: Sequence[str], height: float, told: str) -> str:
    inside = "\n".join(parts)
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{text(told)}" '
        f'xmlns="http://www.w3.org/2000/svg">\n{inside}\n</svg>'
    )


def _grid(across: _Scale, up: _Scale) -> list[str]:
    lines = [f'<path class="grid" d="M{LEFT} {up(value)}H{WIDTH - RIGHT}"/>' for value in up.ticks()]
    numbers = [f'<text x="{LEFT - 6}" y="{up(value) + 4}" class="end">{_number(value)}</text>' for value in up.ticks()]
    below = HEIGHT - BOTTOM + 16
    numbers += [f'<text x="{across(v)}" y="{below}" class="middle">{_number(v)}</text>' for v in across.ticks()]
    return [*lines, f'<path class="axis" d="M{LEFT} {up(0)}H{WIDTH - RIGHT}"/>', *numbers]


def _names(panel: Panel) -> list[str]:
    middle = (LEFT + WIDTH - RIGHT) / 2
    below = f'<text x="{middle}" y="{HEIGHT - 6}" class="middle soft">{text(panel.x)}</text>'
    return [below, f'<text x="4" y="11" class="soft">{text(panel.y)}</text>']


def _band(line: Line, across: _Scale, up: _Scale) -> str:
    if all(place.low == place.high for place in line.places):
        return ""
    above = [f"{across(place.x)} {up(place.high)}" for place in line.places]
    below = [f"{across(place.x)} {up(place.low)}" for place in reversed(line.places)]
    return f'<path class="{_class(line.color)} band" d="M{"L".join([*above, *below])}Z"/>'


def _way(line: Line, across: _Scale, up: _Scale) -> str:
    points = "L".join(f"{across(place.x)} {up(place.mean)}" for place in line.places)
    parts = [f'<path class="way" d="M{points}"{_dash(line.color)}/>']
    first = line.places[0]
    if line.from_zero and first.x > 0:
        parts.append(f'<path class="lead" d="M{across(0)} {up(0)}L{across(first.x)} {up(first.mean)}"/>')
    if not line.marked:
        return f'<g class="{_class(line.color)}"><title>{text(line.name)}</title>{parts[0]}</g>'
    for place in line.places:
        told = text(_told(line, place))
        parts.append(
            f'<g class="spot"><title>{told}</title><circle cx="{across(place.x)}" cy="{up(place.mean)}" r="9" class="reach"/>'
            f"{_sign(line.color, across(place.x), up(place.mean), 3.2)}</g>"
        )
    return f'<g class="{_class(line.color)}">{"".join(parts)}</g>'


def _told(line: Line, place: Place) -> str:
    seeds = f", seeds {place.low:.1f} to {place.high:.1f}" if place.high > place.low else ""
    return f"{line.name}: {place.mean:.1f}{seeds} at {_number(place.x)}"


def _label(strip: Strip, top: float) -> str:
    shown = strip.label if len(strip.label) <= LONGEST else strip.label[: LONGEST - 1] + "…"
    return f'<text x="14" y="{top + 12:g}"><title>{text(strip.label)}</title>{text(shown)}</text>'


def _mark(mark: Mark, chart: Chart, along: _Scale, y: float) -> str:
    sign = "+" if chart.signed else ""
    value = f"{mark.value:{sign}.{chart.digits}f}"
    limits = (
        mark.interval and f"{mark.interval.low:{sign}.{chart.digits}f} to {mark.interval.high:{sign}.{chart.digits}f}"
    )
    told = f"{mark.name}: {value}" + (f", 95 % {limits} ({mark.interval.method})" if mark.interval else "")
    parts = [f"<title>{text(told)}</title>", f'<path class="reach" d="M10 {y:g}H{WIDTH}" stroke-width="{MARK}"/>']
    if mark.interval:
        low, high = along(mark.interval.low), along(mark.interval.high)
        parts.append(f'<path class="interval" d="M{low} {y:g}H{high}M{low} {y - 3:g}v6M{high} {y - 3:g}v6"/>')
    parts += [f'<circle class="single" cx="{along(single)}" cy="{y:g}" r="2.4"/>' for single in mark.singles]
    parts.append(_sign(mark.color, along(mark.value), y, 4))
    parts.append(f'<text x="{WIDTH - 4}" y="{y + 4:g}" class="end value">{value}</text>')
    return f'<g class="{_class(mark.color)} spot">{"".join(parts)}</g>'


def _axis(chart: Chart, along: _Scale, bottom: float) -> list[str]:
    lines = [f'<path class="grid" d="M{along(value)} 4V{bottom:g}"/>' for value in along.ticks()]
    zero = [f'<path class="axis" d="M{along(0)} 4V{bottom:g}"/>'] if chart.zero else []
    sign = "+" if chart.signed else ""
    numbers = [
        f'<text x="{along(v)}" y="{bottom + 14:g}" class="middle">{sign * (v > 0)}{_number(v)}</text>'
        for v in along.ticks()
    ]
    middle = (10 + WIDTH - VALUE - 10) / 2
    name = f'<text x="{middle:g}" y="{bottom + 31:g}" class="middle soft">{text(chart.axis)}</text>'
    return [*lines, *zero, *numbers, name]


def _sign(color: int, x: float, y: float, r: float) -> str:
    """The marker of a colour, which tells rows apart where colours do not."""
    corners = (
        "",
        f"M{x - r} {y - r}h{2 * r}v{2 * r}h{-2 * r}Z",
        f"M{x} {y - 1.3 * r}l{1.2 * r} {2.2 * r}h{-2.4 * r}Z",
        f"M{x} {y - 1.4 * r}l{1.4 * r} {1.4 * r}l{-1.4 * r} {1.4 * r}l{-1.4 * r} {-1.4 * r}Z",
    )[color % 4]
    return f'<path class="sign" d="{corners}"/>' if corners else f'<circle class="sign" cx="{x}" cy="{y}" r="{r}"/>'


def _class(color: int) -> str:
    return f"c{color % COLORS}"


def _dash(color: int) -> str:
    return ' stroke-dasharray="7 3"' if color >= COLORS else ""


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else "0" if abs(value) < 1e-12 else three_digits(value)
