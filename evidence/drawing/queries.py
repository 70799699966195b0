"""Matches of one image as a picture: a block per assigner with the ways of the queries, a grid of who answers for which
object in which layer, and what the last match costs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from ...assigners import BACKGROUND
from ..inspection.queries import QueryInspection
from ..inspection.scene import Scene
from .canvas import (
    INK,
    MARGIN,
    begin,
    color_of,
    dim,
    image_axes,
    number_targets,
    outline_targets,
    rectangle,
    rule,
    show,
    write,
)
from .queries_layout import BLOCK, TITLE, Layout, explanation, lay_out
from .queries_rows import draw_costs, draw_matches, layer_colors

FEW = 8  # objects whose boxes of all layers can be told apart; of more the last ones are drawn


def draw(scene: Scene, inspections: Sequence[QueryInspection], subtitle: str = "") -> Figure:
    """The picture of one or more assigners' matches on the same predictions.

    Args:
        scene: the image and its objects.
        inspections: one per assigner.
        subtitle: where the predictions come from.

    Raises:
        ValueError: when there is no inspection to draw.
    """
    if not inspections:
        raise ValueError("inspections: expected at least one, got none")
    first = inspections[0]
    layout = lay_out(scene.image.shape[:2], first.layers, first.query.shape[1], len(inspections))
    compared = first.name if len(inspections) > 1 else None
    figure = begin(layout.size, scene, subtitle, explanation(layout.size[0], compared))
    for block, inspection in enumerate(inspections):
        top = layout.top(block)
        rule(figure, top + 3, layout.size)
        write(figure, layout.size, MARGIN, top + 7, inspection.name, points=14, weight="bold")
        _draw_paths(figure, layout, top + BLOCK + TITLE, scene, inspection)
        draw_matches(figure, layout, top + BLOCK + TITLE, scene, inspection, first)
        draw_costs(figure, layout, top + BLOCK + TITLE, inspection)
    return figure


def way(inspection: QueryInspection, index: int) -> np.ndarray:
    """(L or L + 1, 2) where a target's last query was: its first reference, if it has one, and every layer's centre."""
    centers = _center(inspection.boxes[:, index])
    if inspection.references is None:
        return centers
    return np.concatenate([inspection.references[0][None, index, :2], centers])


def _draw_paths(figure: Figure, layout: Layout, top: int, scene: Scene, inspection: QueryInspection) -> None:
    title = f"{inspection.queries} queries, {layout.objects} objects"
    panel = image_axes(figure, layout.place(MARGIN, top, *layout.panel), scene, title)
    show(panel, 0.45 * scene.image / 255 + 0.55 * dim(scene.image))
    panel.scatter(*_center(inspection.others).T, s=5, color=INK, alpha=0.35, linewidths=0)
    outline_targets(panel, scene)
    colors = layer_colors(inspection.layers)
    for index in np.flatnonzero(inspection.query[-1] != BACKGROUND):
        _draw_boxes(panel, inspection.boxes[:, index], colors, all_layers=layout.objects <= FEW)
        points = way(inspection, index)
        _draw_way(panel, points, colors)
        ends = np.stack([points[-1], _center(scene.targets.boxes[0, index].numpy())])
        panel.plot(*ends.T, color=color_of(int(scene.targets.labels[0, index])), linewidth=0.9, linestyle=":")
    number_targets(panel, scene)


def _center(boxes: np.ndarray) -> np.ndarray:
    return (boxes[..., :2] + boxes[..., 2:]) / 2


def _draw_boxes(panel: Axes, boxes: np.ndarray, colors: np.ndarray, all_layers: bool) -> None:
    shown = range(len(boxes)) if all_layers else [len(boxes) - 1]
    for layer in shown:
        last = layer == len(boxes) - 1
        panel.add_patch(rectangle(boxes[layer], edgecolor=colors[layer], linewidth=1.3 if last else 0.7))


def _draw_way(panel: Axes, points: np.ndarray, colors: np.ndarray) -> None:
    steps = np.stack([points[:-1], points[1:]], 1)
    panel.add_collection(LineCollection(steps, colors=colors[len(colors) - len(steps) :], linewidths=1.6))
    panel.scatter(*points[-len(colors) :].T, s=14, color=colors, linewidths=0, zorder=3)
    if len(points) > len(colors):
        panel.scatter(*points[0], s=26, facecolors="none", edgecolors=colors[0], linewidths=1.2, zorder=3)
