"""Drawing detections over an image: a box in its class's colour, with name and score on a plate."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ...heads import Detections
from .fonts import Lettering, class_lettering, font_of_size

SMALLEST_DRAWING = 640  # pixels of the longer side: below it labels cover what they name
GOLDEN_RATIO = 0.618034  # steps of this around the colour circle keep any number of classes apart


def draw_detections(pixels: np.ndarray, found: Detections, classes: Sequence[str]) -> Image.Image:
    """Boxes with class and score over an image (H, W, 3) in BGR, enlarged if small; the best score is on top.

    found: boxes (K, 4) xyxy in pixels of the image, scores (K,) falling, labels (K,) into `classes`, whose names are
    drawn in a font that has their letters, or as numbers.
    """
    rows = zip(found.boxes.tolist(), found.scores.tolist(), found.labels.tolist(), strict=True)
    return draw_boxes(pixels, [named_box(box, classes, label, f" {score:.2f}") for box, score, label in rows])


class Box(NamedTuple):
    """A box xyxy in pixels of the image, what its plate says, and its colour."""

    corners: Sequence[float]
    plate: Lettering
    colour: tuple[int, int, int]


def named_box(
    corners: Sequence[float],
    classes: Sequence[str],
    label: int,
    behind: str,
    colour: tuple[int, int, int] | None = None,
) -> Box:
    """A box with its class's name and what stands behind that, in its class's colour if no other is given."""
    name, font = class_lettering(classes, label)
    return Box(corners, Lettering(name + behind, font), colour or class_colour(label))


def draw_boxes(pixels: np.ndarray, boxes: Sequence[Box], largest: int | None = None) -> Image.Image:
    """Boxes over an image (H, W, 3) in BGR, the first on top; enlarged if small, made smaller if `largest` is exceeded."""
    image = Image.fromarray(np.ascontiguousarray(pixels[..., ::-1]))
    longer = max(image.size)
    zoom = largest / longer if largest and longer > largest else max(1, -(-SMALLEST_DRAWING // longer))
    if zoom != 1:
        size = [max(1, round(side * zoom)) for side in image.size]
        image = image.resize(size, Image.Resampling.BICUBIC if zoom > 1 else Image.Resampling.LANCZOS)
    canvas, size, width = ImageDraw.Draw(image), max(image.size) // 48, max(2, max(image.size) // 400)
    from_below = [box._replace(corners=[zoom * side for side in box.corners]) for box in reversed(boxes)]
    for box in from_below:
        canvas.rectangle(_ordered(box.corners), outline=box.colour, width=width)
    for box in from_below:
        _draw_label(canvas, font_of_size(box.plate.font, size), box.plate.text, box.corners, box.colour)
    return image


def class_colour(label: int) -> tuple[int, int, int]:
    """A bright RGB colour, the same for a class in every image."""
    return tuple(round(255 * part) for part in colorsys.hsv_to_rgb(label * GOLDEN_RATIO % 1, 0.8, 1.0))


def _draw_label(
    canvas: ImageDraw.ImageDraw,
    font: ImageFont.FreeTypeFont,
    text: str,
    box: Sequence[float],
    colour: tuple[int, int, int],
) -> None:
    """Text on a plate above the box, or inside it where the image ends; black or white, whichever is clearer."""
    width, height = font.getlength(text) + 4, sum(font.getmetrics())
    left = max(0.0, min(box[0], canvas.im.size[0] - width))
    top = box[1] - height if box[1] >= height else box[1]
    canvas.rectangle((left, top, left + width, top + height), fill=colour)
    luminance = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
    canvas.text((left + 2, top), text, font=font, fill="black" if luminance > 128 else "white")


def _ordered(box: Sequence[float]) -> tuple[float, float, float, float]:
    """The box with its corners in order, as the drawing needs it, however thin rounding made it."""
    return box[0], box[1], max(box[0], box[2]), max(box[1], box[3])
