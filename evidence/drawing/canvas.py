"""What the pictures of `detassign inspect` share: colours, axes placed by pixels, an image with its objects."""

from __future__ import annotations

from collections.abc import Container, Sequence
from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ..inspection.scene import Scene
from .fonts import style_of, title_lettering, warn_of_missing_letters
from .theme import theme

DPI = 100
FORMATS = (".png", ".pdf", ".svg")
MARGIN, HEAD, LINE = 14, 36, 16  # pixels: left border, the title, a line of text
LETTER = 6.2  # pixels, mean width of the explanation's letters
TITLED = 225  # pixels, width of an image that has room for the longest title at full size
INK = "white"  # of marks on photographs
PALETTE = ("#ff6ec7", "#ffe95c", "#b9a2ff", "#e9ecef", "#ff9e9e", "#8df0dc", "#d0a97a", "#c6f36b", "#9fb8ff", "#ff6b6b")


def color_of(label: int) -> str:
    """The colour of a class."""
    return PALETTE[label % len(PALETTE)]


def wrap(sentences: Sequence[str], width: int) -> str:
    """Sentences in lines for a picture of so many pixels, each on its own."""
    return "\n".join(fill(sentence, int((width - 2 * MARGIN) / LETTER)) for sentence in sentences)


def dim(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) grey and dark, in [0, 1], from uint8 RGB."""
    grey = image.astype(np.float32).mean(-1, keepdims=True) / 255
    return np.repeat(0.05 + 0.33 * grey, 3, -1)


def begin(size: tuple[int, int], scene: Scene, subtitle: str, explanation: str) -> Figure:
    """A picture of `size` pixels that has nothing yet but its title and what it shows."""
    warn_of_missing_letters(scene.classes)
    figure = Figure(figsize=(size[0] / DPI, size[1] / DPI), dpi=DPI, facecolor=theme().ground)
    FigureCanvasAgg(figure)
    height, width = scene.image.shape[:2]
    title = f"{scene.name}, {width} x {height}" + (f"   ·   {subtitle}" if subtitle else "")
    shown, font = title_lettering(title)
    write(figure, size, MARGIN, 10, shown, points=11, weight="bold", **style_of(font))
    write(figure, size, MARGIN, HEAD, explanation, points=8.5, linespacing=1.3, color=theme().soft)
    return figure


def save(figure: Figure, path: Path, like: Path | None = None) -> None:
    """Write a picture, in the format that the file's name ends in, as PNG where it ends in none.

    Args:
        figure: the picture.
        path: of the file.
        like: a name that says the format instead.

    Raises:
        OSError: when the file cannot be written.
    """
    suffix = (like or path).suffix.lower()
    figure.savefig(path, format=suffix[1:] if suffix in FORMATS else "png", dpi=DPI, facecolor=figure.get_facecolor())


def image_axes(figure: Figure, place: tuple[float, float, float, float], scene: Scene, title: str) -> Axes:
    """Axes in pixels of the image, at a place in the figure's fractions."""
    axes = figure.add_axes(place, facecolor="black")
    axes.set(xlim=(0, scene.image.shape[1]), ylim=(scene.image.shape[0], 0), xticks=[], yticks=[])
    axes.set_autoscale_on(False)
    axes.set_aspect("auto")
    axes.set_title(title, color=theme().ink, fontsize=8.5 * min(1, place[2] * figure.bbox.width / TITLED), pad=3)
    for spine in axes.spines.values():
        spine.set_color(theme().edge)
    return axes


def show(axes: Axes, image: np.ndarray) -> None:
    """An image (H, W, 3) as the ground of its axes."""
    axes.imshow(image, extent=(0, image.shape[1], image.shape[0], 0), interpolation="bilinear")


def outline_targets(axes: Axes, scene: Scene) -> None:
    """Boxes in the colours of their classes; hatched regions are ignored."""
    targets = scene.targets
    for box, label in zip(targets.boxes[0].tolist(), targets.labels[0].tolist(), strict=True):
        axes.add_patch(rectangle(box, edgecolor=color_of(label), linewidth=0.9))
    ignored = [] if targets.ignore_boxes is None else targets.ignore_boxes[0].tolist()
    for box in ignored:
        axes.add_patch(rectangle(box, edgecolor="#9aa0aa", linewidth=0.6, hatch="////"))


def number_targets(
    panel: Axes, scene: Scene, colors: Sequence[str] | None = None, only: Container[int] | None = None
) -> None:
    """Plates with the targets' numbers over their upper left corners, or inside where the image ends.

    Args:
        panel: in pixels of the image.
        scene: with the targets.
        colors: of each target; None takes those of the classes.
        only: numbers that are written; None is all.
    """
    height = scene.image.shape[0]
    colors = colors or [color_of(label) for label in scene.targets.labels[0].tolist()]
    for index, (box, color) in enumerate(zip(scene.targets.boxes[0].tolist(), colors, strict=True)):
        if only is not None and index not in only:
            continue
        plate = {"facecolor": color, "pad": 1, "linewidth": 0, "alpha": 0.85}
        side = "bottom" if box[1] > 0.03 * height else "top"
        panel.text(box[0], box[1], str(index), color="black", fontsize=7, va=side, bbox=plate, clip_on=True)


def rectangle(box: Sequence[float], **style: object) -> Rectangle:
    """A box xyxy, not filled."""
    return Rectangle((box[0], box[1]), box[2] - box[0], box[3] - box[1], **{"fill": False, **style})


def rule(figure: Figure, top: int, size: tuple[int, int]) -> None:
    """A line across a picture of `size` pixels."""
    line = figure.add_axes((0, 1 - top / size[1], 1, 1 / size[1]), facecolor=theme().edge)
    line.set(xticks=[], yticks=[])


def write(
    figure: Figure, size: tuple[int, int], left: float, top: float, text: str, points: float, **style: object
) -> None:
    """Text, whose dollar signs are no formula, with its top left corner at a pixel of a picture of `size` pixels."""
    style = {"color": theme().ink, "va": "top", "parse_math": False, **style}
    figure.text(left / size[0], 1 - top / size[1], text, fontsize=points, **style)
