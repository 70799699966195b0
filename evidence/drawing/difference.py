"""Where two assignments disagree, as a picture: all objects by how much, and windows about those that differ most."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..inspection.crops import window
from ..inspection.difference import Difference
from ..inspection.samples import Samples
from ..inspection.scene import Scene
from .canvas import (
    HEAD,
    LINE,
    MARGIN,
    begin,
    dim,
    image_axes,
    number_targets,
    outline_targets,
    rectangle,
    show,
    wrap,
    write,
)
from .theme import theme

COMMON, ONLY = "#ffffff", ("#ffa94d", "#4dabf7")  # samples of both, of the first and of the second alone
BARS = "#f08c00"  # seen on either ground
SHOWN, ACROSS = 9, 3  # windows, and how many of them side by side
PANEL, GAP, TITLE = 290, 10, 20  # pixels: longer side of a panel, between panels, above them
NARROWEST = 900  # pixels
ROW = 15  # pixels of a bar
MOST_BARS = 60  # of the objects that differ most
LEAST_DOT, LARGEST_DOT = 1.5, 110.0  # square points
STRIDE_OF_QUERIES = 8.0  # pixels, that windows of queries are laid out for
EXPLANATION = (
    "Difference: how much of an object's w⁺, as shares that add up to 1, lies on other samples; 0 is the same, 1 nothing in "
    "common.",
    "Windows: left {first}, right {second}; a dot, or the box of a query, for each sample that pulls, the larger or stronger "
    "the more it weighs: white of both, orange of {first} alone, blue of {second} alone.",
)


def draw(scene: Scene, difference: Difference, subtitle: str = "") -> Figure:
    """The picture of one difference."""
    height, width = scene.image.shape[:2]
    scale = PANEL / max(height, width)
    panel = round(width * scale), round(height * scale)
    shown = [index for index in difference.order if difference.distance[index] > 0][:SHOWN]
    total = max(2 * MARGIN + ACROSS * (2 * panel[0] + GAP) + (ACROSS - 1) * 3 * GAP, NARROWEST)
    names = {"first": difference.first.name, "second": difference.second.name}
    explanation = wrap([sentence.format(**names) for sentence in EXPLANATION], total)
    head = HEAD + LINE * (len(explanation.splitlines()) + 1)
    bars = ROW * min(max(len(difference.distance), 1), MOST_BARS)
    overview = max(2 * panel[1], bars) + TITLE + GAP
    rows = -(-len(shown) // ACROSS)
    size = total, head + overview + rows * (panel[1] + TITLE + GAP) + MARGIN
    figure = begin(size, scene, subtitle, explanation)
    place = _places(size)
    whole = image_axes(figure, place(MARGIN, head + TITLE, 2 * panel[0], 2 * panel[1]), scene, "objects")
    show(whole, 0.45 * scene.image / 255 + 0.55 * dim(scene.image))
    outline_targets(whole, scene)
    number_targets(whole, scene, only=shown)
    left = MARGIN + 2 * panel[0] + 8 * GAP
    _draw_bars(figure, place(left, head + TITLE, total - left - MARGIN, bars), difference)
    for number, index in enumerate(shown):
        corner = (
            MARGIN + number % ACROSS * (2 * panel[0] + 4 * GAP),
            head + overview + number // ACROSS * (panel[1] + TITLE + GAP),
        )
        _draw_object(figure, size, (corner, panel), scene, difference, index)
    return figure


def _places(size: tuple[int, int]) -> Callable[[float, float, float, float], tuple[float, float, float, float]]:
    """From pixels to the figure's fractions."""

    def place(left: float, top: float, width: float, height: float) -> tuple[float, float, float, float]:
        return left / size[0], 1 - (top + height) / size[1], width / size[0], height / size[1]

    return place


def _draw_bars(figure: Figure, place: tuple[float, float, float, float], difference: Difference) -> None:
    """The difference of every object, the largest above."""
    axes = figure.add_axes(place, facecolor=theme().ground)
    order = difference.order[:MOST_BARS]
    values = difference.distance[order]
    axes.barh(np.arange(len(order)), values, 0.7, color=BARS)
    axes.set(xlim=(0, 1), ylim=(max(len(order), 1) - 0.5, -0.5), xticks=[0, 0.5, 1])
    axes.set_yticks(np.arange(len(order)), [str(index) for index in order])
    axes.set_title("difference by object", color=theme().ink, fontsize=8.5, pad=3)
    axes.tick_params(colors=theme().soft, labelsize=8, length=2)
    for spine in axes.spines.values():
        spine.set_color(theme().edge)


def _draw_object(
    figure: Figure,
    size: tuple[int, int],
    at: tuple[tuple[float, float], tuple[int, int]],
    scene: Scene,
    difference: Difference,
    index: int,
) -> None:
    """Two windows about an object, one for each side."""
    (left, top), panel = at
    place = _places(size)
    height, width = scene.image.shape[:2]
    box = scene.targets.boxes[0, index].tolist()
    view, _ = window(box, (width, height), STRIDE_OF_QUERIES, largest=1.0)
    text = f"object {index}: {difference.distance[index]:.2f}; {difference.common[index]} common"
    write(figure, size, left, top, text, points=8.5)
    sides = difference.first, difference.second
    for number, samples in enumerate(sides):
        only = set(difference.only_in(number, index))
        corner = left + number * (panel[0] + GAP), top + TITLE
        axes = image_axes(figure, place(*corner, *panel), scene, "")
        axes.set(xlim=view[::2], ylim=view[:0:-2])
        show(axes, 0.45 * scene.image / 255 + 0.55 * dim(scene.image))
        outline_targets(axes, scene)
        draw_samples(axes, samples, index, [ONLY[number] if each in only else COMMON for each in _of(samples, index)])


def draw_samples(axes: Axes, samples: Samples, index: int, colors: list[str]) -> None:
    """The samples that pull an object up: dots of a pyramid's points, predicted boxes of queries."""
    pairs = samples.of(index)
    pairs = pairs[samples.positive[pairs] > 0]
    if not len(pairs):
        return
    pairs, colors = pairs[::-1], colors[::-1]  # the heaviest on top
    share = samples.positive[pairs] / samples.positive[pairs].max()
    if samples.pyramid:
        sizes = LEAST_DOT + (LARGEST_DOT - LEAST_DOT) * share
        axes.scatter(*samples.points[pairs].T, s=sizes, c=colors, edgecolors="black", linewidths=0.3, zorder=3)
        return
    for box, color, strength in zip(samples.predicted[pairs].tolist(), colors, np.sqrt(share).tolist(), strict=True):
        axes.add_patch(rectangle(box, edgecolor=color, linewidth=1.6, alpha=0.25 + 0.75 * strength))


def _of(samples: Samples, index: int) -> list[int]:
    """The samples that pull an object up, the heaviest first."""
    return [sample for sample, weight in samples.weights(index).items() if weight > 0]
