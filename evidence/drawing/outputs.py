"""Who learns what, as a picture: a panel per output with its objects and the boxes of the queries that learn them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..inspection.outputs import OutputInspection
from ..inspection.scene import Scene
from .canvas import (
    HEAD,
    INK,
    LINE,
    MARGIN,
    begin,
    color_of,
    dim,
    image_axes,
    number_targets,
    rectangle,
    show,
    wrap,
)

PANEL, GAP, TITLE = 520, 16, 24  # pixels: longer side of the image, between panels, above them
COLUMNS = 3
MANY = 40  # pairs of a panel, from which their boxes are drawn finer
EXPLANATION = (
    "Dotted, with a plate of its colour: an object. In that colour: what the queries predict that learn it in the last layer, "
    "the fainter the less they weigh.",
)


def draw(scene: Scene, inspections: Sequence[OutputInspection], subtitle: str = "") -> Figure:
    """The picture.

    Args:
        scene: the image and its objects.
        inspections: one per output.
        subtitle: where the predictions come from.
    """
    height, width = scene.image.shape[:2]
    panel = round(width * PANEL / max(height, width)), round(height * PANEL / max(height, width))
    columns = min(COLUMNS, len(inspections))
    rows = math.ceil(len(inspections) / columns)
    total = 2 * MARGIN + columns * panel[0] + (columns - 1) * GAP
    explanation = wrap(EXPLANATION, total)
    head = HEAD + LINE * (len(explanation.splitlines()) + 1)
    size = total, head + rows * (TITLE + panel[1]) + MARGIN
    figure = begin(size, scene, subtitle, explanation)
    for place, inspection in enumerate(inspections):
        left = MARGIN + place % columns * (panel[0] + GAP)
        top = head + place // columns * (TITLE + panel[1]) + TITLE
        fractions = left / size[0], 1 - (top + panel[1]) / size[1], panel[0] / size[0], panel[1] / size[1]
        _draw_panel(image_axes(figure, fractions, scene, title_of(inspection, scene)), scene, inspection)
    return figure


def title_of(inspection: OutputInspection, scene: Scene) -> str:
    """Name and counts."""
    found = inspection.totals()
    objects = scene.targets.boxes.shape[1]
    return f"{inspection.name}: {found['pairs']} of {found['queries']} queries learn {found['objects']} of {objects} objects"


def _draw_panel(panel: Axes, scene: Scene, inspection: OutputInspection) -> None:
    show(panel, 0.45 * scene.image / 255 + 0.55 * dim(scene.image))
    boxes = scene.targets.boxes[0].tolist()
    colors = [
        color_of(index) for index in range(len(boxes))
    ]  # of each object, so that those of a class can be told apart
    for box in boxes:
        panel.add_patch(rectangle(box, edgecolor=INK, linewidth=0.8, linestyle=":"))
    width = 1.1 if len(inspection.query) <= MANY else 0.5
    pairs = zip(inspection.boxes.tolist(), inspection.learnt.tolist(), inspection.weight.tolist(), strict=True)
    for box, target, weight in pairs:
        panel.add_patch(rectangle(box, edgecolor=colors[target], linewidth=width, alpha=0.2 + 0.8 * weight))
    number_targets(panel, scene, colors)
