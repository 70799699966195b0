"""Assignments of one image as a picture: a block per assigner with rows w⁺, w⁻, w° and a column per pyramid level."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from ..inspection.points import Inspection
from ..inspection.scene import Scene
from ..words import many, three_digits
from .canvas import (
    HEAD,
    INK,
    LINE,
    MARGIN,
    begin,
    color_of,
    dim,
    image_axes,
    outline_targets,
    rule,
    show,
    wrap,
    write,
)
from .fonts import class_lettering, style_of

PICTURE = (1900, 2300)  # pixels that the panels of three assigners are fitted into
LEAST_PANEL = 150  # pixels, shorter side; many assigners make the picture longer instead
GAP, SIGN, BAR = 6, 34, 80  # pixels: between panels, a row's sign, colour bar with numbers
BLOCK, TITLE = 30, 17  # pixels: above each assigner, above each row
NARROWEST = 900  # pixels
TINY = 1e-12  # keeps scales of all-zero weights defined
LEGEND = 12  # classes named
SPARED = 0.995  # a share from which nothing is spared, in whole percent
EXPLANATION = (
    "w⁺ pulls a point's class score up, w° its box towards the object; both are summed over the objects that a point "
    "learns, and full colour is what an object's best point typically gets.",
    "w⁻ pushes its class score down; shown is its share of what a background point gets: nothing drawn at 1, blue where "
    "the point is spared (0: fully), red where it is pushed down harder.",
)


@dataclass(frozen=True)
class Row:
    """One kind of weight: where it comes from and how it is coloured."""

    attribute: str
    sign: str
    colors: LinearSegmentedColormap
    opacity: float  # exponent: a root makes small weights visible

    @property
    def is_share(self) -> bool:
        """Whether values are shares, with nothing to see at 1, rather than amounts."""
        return self.attribute == "negative"

    def top(self, inspection: Inspection) -> float:
        """The value of full colour."""
        return 2.0 if self.is_share else max(inspection.typical[self.attribute == "box"], TINY)


ROWS = (
    Row("positive", "w⁺", LinearSegmentedColormap.from_list("pull", ["#d9480f", "#ffa94d", "#fff3bf"]), 0.5),
    Row("negative", "w⁻", LinearSegmentedColormap.from_list("push", ["#22b8ff", "#22b8ff", "#ff3b3b", "#ff3b3b"]), 1.0),
    Row("box", "w°", LinearSegmentedColormap.from_list("box", ["#2b8a3e", "#69db7c", "#ebfbee"]), 0.5),
)


@dataclass(frozen=True)
class Layout:
    """Where panels lie, in pixels from the top left corner."""

    panel: tuple[int, int]  # width, height
    size: tuple[int, int]
    levels: int
    head: int

    def top(self, block: int) -> int:
        """Upper edge of an assigner's block."""
        return self.head + block * (BLOCK + 3 * (self.panel[1] + TITLE))

    def place(self, block: int, row: int, column: int) -> tuple[float, float, float, float]:
        """Axes rectangle of a panel in the figure's fractions; column -1 is the overview, `levels` the colour bar."""
        width = 12 if column == self.levels else self.panel[0]
        left = MARGIN + (column + 1) * (self.panel[0] + GAP) + (SIGN if column >= 0 else 0)
        top = self.top(block) + BLOCK + row * (self.panel[1] + TITLE) + TITLE
        return (
            left / self.size[0],
            1 - (top + self.panel[1]) / self.size[1],
            width / self.size[0],
            self.panel[1] / self.size[1],
        )


def draw(scene: Scene, inspections: Sequence[Inspection], subtitle: str = "") -> Figure:
    """The picture of one or more assignments of a scene.

    Args:
        scene: the image and its objects.
        inspections: one per assigner, over the same pyramid.
        subtitle: where the predictions come from.

    Raises:
        ValueError: when there is no assignment to draw.
    """
    if not inspections:
        raise ValueError("inspections: expected at least one, got none")
    layout = lay_out(scene.image.shape[:2], len(inspections[0].strides), len(inspections))
    figure = begin(layout.size, scene, subtitle, explanation(layout.size[0]))
    for block, inspection in enumerate(inspections):
        _draw_overview(figure, layout, block, scene, inspection)
        for row, kind in enumerate(ROWS):
            _draw_row(figure, layout, (block, row), kind, scene, inspection)
    return figure


def lay_out(shape: tuple[int, int], levels: int, assigners: int) -> Layout:
    """Panels of the image's proportions as large as the picture's size allows."""
    height, width = shape
    head = HEAD + 2 * len(EXPLANATION) * LINE
    room = (
        (PICTURE[0] - MARGIN - SIGN - BAR) / (levels + 1) - GAP,
        (PICTURE[1] - head - assigners * BLOCK) / (3 * assigners) - TITLE,
    )
    scale = max(min(room[0] / width, room[1] / height), LEAST_PANEL / min(shape))
    panel = round(scale * width), round(scale * height)
    total = max(MARGIN + (levels + 1) * (panel[0] + GAP) + SIGN + BAR, NARROWEST)
    head = HEAD + LINE * (len(explanation(total).splitlines()) + 1)
    return Layout(panel, (total, head + assigners * (BLOCK + 3 * (panel[1] + TITLE)) + GAP), levels, head)


def explanation(width: int) -> str:
    """What the picture shows, in lines for a picture of so many pixels."""
    return wrap(EXPLANATION, width)


def colored(values: np.ndarray, largest: float, kind: Row) -> np.ndarray:
    """(..., 4) RGBA of weights: transparent where there is nothing to see, at 0 (w⁺, w°) or 1 (w⁻)."""
    position = values / max(largest, TINY)
    strength = np.abs(values - 1) if kind.is_share else position
    rgba = kind.colors(np.clip(position, 0, 1))
    rgba[..., 3] = np.clip(strength, 0, 1) ** kind.opacity
    return rgba


def _draw_overview(figure: Figure, layout: Layout, block: int, scene: Scene, inspection: Inspection) -> None:
    """The assigner's name, the image with every target's number of positives, and the figures of the whole image."""
    top = layout.top(block)
    rule(figure, top + 3, layout.size)
    write(figure, layout.size, MARGIN, top + 7, inspection.name, points=14, weight="bold")
    panel = image_axes(figure, layout.place(block, 0, -1), scene, "points per object")
    show(panel, scene.image)
    outline_targets(panel, scene)
    _write_counts(panel, scene, [share.pairs for share in inspection.targets])
    below = top + BLOCK + 2 * TITLE + layout.panel[1]
    write(figure, layout.size, MARGIN, below, _figures(inspection), points=9, linespacing=1.5)
    for place, (label, count) in enumerate(Counter(scene.targets.labels[0].tolist()).most_common(LEGEND)):
        spot = MARGIN + 0.5 * layout.panel[0] * (place % 2), below + 9 * LINE + LINE * (place // 2)
        name, font = class_lettering(scene.classes, label, longest=13)
        write(figure, layout.size, *spot, f"{count} {name}", points=9, color=color_of(label), **style_of(font))


def _figures(inspection: Inspection) -> str:
    total = inspection.totals()
    sums = [f"Σ{kind.sign} {three_digits(value)}" for kind, value in zip(ROWS, inspection.sums, strict=True)]
    lines = (
        f"{many(total['targets'], 'object')},",
        f"{total['without_positive']} without a point",
        f"{total['pairs_per_target']:.1f} points per object",
        f"as {total['effective_per_target']:.1f} of equal w⁺",
        *sums,
    )
    return "\n".join(lines)


def _draw_row(
    figure: Figure, layout: Layout, place: tuple[int, int], kind: Row, scene: Scene, inspection: Inspection
) -> None:
    """One weight on every level, on one scale."""
    levels = getattr(inspection, kind.attribute)
    top = kind.top(inspection)
    dimmed = dim(scene.image)
    for column, (stride, values) in enumerate(zip(inspection.strides, levels, strict=True)):
        title = f"stride {stride}: {describe(kind, values, levels)}"
        panel = image_axes(figure, layout.place(*place, column), scene, title)
        show(panel, dimmed)
        rows, columns = values.shape
        cells = (0, columns * stride, rows * stride, 0)
        panel.imshow(colored(values, top, kind), extent=cells, interpolation="nearest")
        outline_targets(panel, scene)
    x, y, _, height = layout.place(*place, 0)
    figure.text(x - 0.5 * SIGN / layout.size[0], y + height / 2, kind.sign, color=INK, fontsize=15, ha="center")
    _draw_bar(figure, layout.place(*place, layout.levels), kind, top, max(float(level.max()) for level in levels))


def describe(kind: Row, values: np.ndarray, levels: Sequence[np.ndarray]) -> str:
    """What one level gets, in a few words."""
    if kind.is_share:
        spared = values[values < SPARED]
        return (
            f"{many(len(spared), 'point')} spared {100 * float((1 - spared).mean()):.0f} %"
            if len(spared)
            else "none spared"
        )
    total = sum(float(level.sum()) for level in levels)
    share = float(values.sum()) / total if total else 0.0
    return f"{many(int((values > 0).sum()), 'point')}, {100 * share:.0f} % of Σ"


def _draw_bar(figure: Figure, place: tuple[float, float, float, float], kind: Row, top: float, largest: float) -> None:
    """The row's scale; its upper end stands for everything above, too."""
    bar = figure.add_axes(place)
    bar.imshow(np.full((1, 1, 3), 0.2), extent=(0, 1, 0, top), aspect="auto")
    bar.imshow(colored(np.linspace(top, 0, 128)[:, None], top, kind), extent=(0, 1, 0, top), aspect="auto")
    bar.set_xticks([])
    above = "≥ " if largest > top * 1.001 else ""
    bar.set_yticks([0, top / 2, top], ["0", f"{top / 2:.2g}", f"{above}{top:.2g}"])
    bar.yaxis.tick_right()
    bar.tick_params(colors=INK, labelsize=8, length=0, pad=4)  # a mark before a number would be its sign
    for label, side in zip(bar.get_yticklabels(), ("bottom", "center", "top"), strict=True):
        label.set_verticalalignment(side)


def _write_counts(panel: Axes, scene: Scene, counts: Sequence[int]) -> None:
    """A number at the middle of every target, red for none."""
    centers = (scene.targets.boxes[0, :, :2] + scene.targets.boxes[0, :, 2:]) / 2
    for (x, y), count in zip(centers.tolist(), counts, strict=True):
        ground = {"facecolor": "black" if count else "#e03131", "alpha": 0.65, "pad": 0.8, "linewidth": 0}
        panel.text(x, y, str(count), color=INK, fontsize=8, ha="center", va="center", bbox=ground, clip_on=True)
