"""A row per object: the query of every layer in a grid, and bars of what the last match costs."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ...assigners import BACKGROUND
from ..inspection.queries import QueryInspection
from ..inspection.scene import Scene
from .canvas import INK, color_of, rectangle, write
from .fonts import class_lettering, style_of
from .queries_layout import BARS, CELL, FOOT_ROW, NUMBER, Layout
from .theme import theme

SMALL, SMALLEST, LARGEST = 8.5, 6.5, 9.5  # points: heads and means, rows' text at least and at most
LAYERS = LinearSegmentedColormap.from_list("layers", ["#5f3dc4", "#228be6", "#22b8cf", "#66fff2"])
OVERLAP = LinearSegmentedColormap.from_list("overlap", ["#25282f", "#1f5c2e", "#37b24d", "#b2f2bb"])
BRIGHT = 0.6  # IoU from which the cell is so bright that its text is black
TERMS = ("#ffa94d", "#4dabf7", "#da77f2", "#ffe066", "#63e6be")
RED, YELLOW = "#ff3b3b", "#ffe066"
HEAD_ROW = 20  # pixels between the tops of a column's head and of its first row


def draw_matches(
    figure: Figure, layout: Layout, top: int, scene: Scene, inspection: QueryInspection, first: QueryInspection
) -> None:
    """A column per layer, with the means of the layers below; framed where `first` has another query."""
    size = layout.layers * CELL, layout.grid_height
    grid = _bare(figure.add_axes(layout.place(layout.grid_left, top, *size)), layout.layers, layout.objects)
    _draw_heads(figure, layout, top)
    _fill_cells(grid, inspection.iou.T)
    _write_queries(grid, inspection, text_size(layout.row))
    changes = [[(layer, index), (layer, index + 1)] for layer, index in np.argwhere(inspection.changed)]
    grid.add_collection(LineCollection(changes, colors=RED, linewidths=4, capstyle="butt"))
    for layer, index in np.argwhere(inspection.query != first.query):
        frame = layer + 0.07, index + 0.08, layer + 0.93, index + 0.92
        grid.add_patch(rectangle(frame, edgecolor=YELLOW, linewidth=1.4))
    for index, label in enumerate(scene.targets.labels[0].tolist()):
        name, font = class_lettering(scene.classes, label, longest=17)
        _name_row(
            grid, index, f"{index} {name}", theme().legible(color_of(label)), text_size(layout.row), **style_of(font)
        )
    _draw_means(figure, layout, top + layout.grid_height + 4, inspection)


def draw_costs(figure: Figure, layout: Layout, top: int, inspection: QueryInspection) -> None:
    """Bars of the last layer's terms on the rows of the grid; their sums, the margins and P in numbers."""
    axes = figure.add_axes(layout.place(layout.bars_left, top, BARS, layout.grid_height))
    costs = np.nan_to_num(np.stack([values[-1] for values in inspection.costs.values()]))  # (T, M)
    total, margin = inspection.total[-1], inspection.margin[-1]
    _bare(axes, 1, layout.objects).set_xlim(*cost_range(costs, total + margin))
    rows = np.arange(layout.objects) + 0.5
    for color, left, width in zip(_colors(inspection), bar_starts(costs), costs, strict=True):
        axes.barh(rows, width, 0.62, left=left, color=color, linewidth=0)
    axes.axvline(0, color=theme().soft, linewidth=0.8)
    axes.vlines(total, rows - 0.42, rows + 0.42, color=theme().ink, linewidth=2)
    edges = np.where(margin < 0, RED, theme().ink)
    axes.scatter(total + margin, rows, s=18, marker="D", facecolors="none", edgecolors=edges, linewidths=1)
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.tick_params(colors=theme().soft, labelsize=8, length=2)
    _write_costs(figure, layout, top, inspection)


def layer_colors(layers: int) -> np.ndarray:
    """(L, 4) RGBA, from the first layer to the last, which is the brightest."""
    return LAYERS(np.linspace(0, 1, layers)) if layers > 1 else LAYERS([1.0])


def bar_starts(costs: np.ndarray) -> np.ndarray:
    """(T, M) where the stacked bars of costs (T, M) begin: negative ones go left from 0, positive ones right.

    >>> bar_starts(np.array([[-1.0], [2.0], [-3.0], [4.0]]))[:, 0].tolist()
    [0.0, 0.0, -1.0, 2.0]
    """
    negative, positive = np.minimum(costs, 0), np.maximum(costs, 0)
    return np.where(costs < 0, negative.cumsum(0) - negative, positive.cumsum(0) - positive)


def cost_range(costs: np.ndarray, others: np.ndarray) -> tuple[float, float]:
    """Limits that hold 0, all stacked bars of costs (T, M) and the finite ones of `others` (M,), with some air."""
    others = others[np.isfinite(others)]
    low = min([0.0, *np.minimum(costs, 0).sum(0), *others])
    high = max([0.0, *np.maximum(costs, 0).sum(0), *others])
    air = 0.04 * max(high - low, 1.0)
    return low - air, high + air


def text_size(row: float) -> float:
    """Points of the text of a row of so many pixels."""
    return float(np.clip(0.4 * row, SMALLEST, LARGEST))


def _bare(axes: Axes, columns: int, rows: int) -> Axes:
    """Axes whose unit is a cell, without ticks."""
    axes.set(xlim=(0, columns), ylim=(max(rows, 1), 0), xticks=[], yticks=[], facecolor=theme().ground)
    axes.set_autoscale_on(False)
    for spine in axes.spines.values():
        spine.set_color(theme().edge)
    return axes


def _fill_cells(axes: Axes, overlap: np.ndarray) -> None:
    """Cells (rows, columns) coloured by IoU, with gaps between them."""
    if overlap.size:
        _paint(axes, OVERLAP(np.nan_to_num(overlap)))


def _paint(axes: Axes, colors: np.ndarray) -> None:
    """Cells of RGBA (rows, columns, 4) from the upper left corner on."""
    rows, columns = colors.shape[:2]
    limits = axes.get_ylim()
    axes.imshow(colors, extent=(0, columns, rows, 0), aspect="auto", interpolation="nearest")
    axes.set_ylim(limits)
    axes.vlines(range(1, columns), 0, rows, color=theme().ground, linewidth=2)
    axes.hlines(range(1, rows), 0, columns, color=theme().ground, linewidth=1)


def _write_cell(axes: Axes, column: int, row: int, text: str, color: str, points: float = SMALL) -> None:
    axes.text(column + 0.5, row + 0.5, text, color=color, fontsize=points, ha="center", va="center_baseline")


def _name_row(
    axes: Axes, row: int, text: str, color: str | None = None, points: float = SMALL, **style: object
) -> None:
    style = {"ha": "right", "va": "center_baseline", "parse_math": False, **style}
    axes.text(-0.12, row + 0.5, text, color=color or theme().soft, fontsize=points, **style)


def _ink_on(overlap: float) -> str:
    return "black" if overlap > BRIGHT else INK


def _write_queries(grid: Axes, inspection: QueryInspection, points: float) -> None:
    for (layer, index), query in np.ndenumerate(inspection.query):
        text = "-" if query == BACKGROUND else str(query)
        _write_cell(grid, layer, index, text, _ink_on(inspection.iou[layer, index]), points)


def _draw_heads(figure: Figure, layout: Layout, top: int) -> None:
    """The numbers of the layers on the colours that they have in the image."""
    place = layout.place(layout.grid_left, top - HEAD_ROW, layout.layers * CELL, HEAD_ROW - 3)
    heads = _bare(figure.add_axes(place), layout.layers, 1)
    _paint(heads, layer_colors(layout.layers)[None])
    for layer in range(layout.layers):
        _write_cell(heads, layer, 0, str(layer + 1), INK if layer < (layout.layers - 1) / 2 else "black")
    _name_row(heads, 0, "query in layer")


def _draw_means(figure: Figure, layout: Layout, top: float, inspection: QueryInspection) -> None:
    """Mean IoU and number of changes of every layer."""
    means = inspection.layer_means()
    place = layout.place(layout.grid_left, top, layout.layers * CELL, 2 * FOOT_ROW)
    foot = _bare(figure.add_axes(place), layout.layers, 2)
    overlap = [mean["iou"] or 0.0 for mean in means]
    _fill_cells(foot, np.array([overlap]))
    for layer, mean in enumerate(means):
        _write_cell(foot, layer, 0, "-" if mean["iou"] is None else f"{mean['iou']:.2f}", _ink_on(overlap[layer]))
        _write_cell(foot, layer, 1, str(mean["changed"]) if layer else "", RED if mean["changed"] else theme().soft)
    _name_row(foot, 0, "mean IoU")
    _name_row(foot, 1, "changed")


def _colors(inspection: QueryInspection) -> list[str]:
    """A colour for each term."""
    return [TERMS[index % len(TERMS)] for index in range(len(inspection.costs))]


def _write_costs(figure: Figure, layout: Layout, top: int, inspection: QueryInspection) -> None:
    """The terms by colour above the bars, and three columns of numbers beside them."""
    head = top - HEAD_ROW
    for column, (term, color) in enumerate(zip(inspection.costs, _colors(inspection), strict=True)):
        left = layout.bars_left + column * BARS / len(inspection.costs)
        write(figure, layout.size, left, head, f"■ {term}", points=SMALL, color=theme().legible(color))
    numbers = {"cost": inspection.total, "margin": inspection.margin, "P": inspection.score}
    for column, (name, values) in enumerate(numbers.items()):
        right = layout.bars_left + BARS + (column + 1) * NUMBER - 4
        write(figure, layout.size, right, head, name, points=SMALL, color=theme().soft, ha="right")
        for index, value in enumerate(values[-1]):
            color = RED if name == "margin" and value < 0 else theme().ink
            text, middle = "-" if np.isnan(value) else f"{value:.2f}", top + (index + 0.5) * layout.row
            style = {"color": color, "ha": "right", "va": "center_baseline"}
            write(figure, layout.size, right, middle, text, points=text_size(layout.row), **style)
