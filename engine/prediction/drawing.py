"""Pictures of what is found in an image: the detections drawn on it, and each cut out of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ...assigners.spec import slugs
from ...evidence.drawing.detections import draw_detections
from ..files import write_whole
from .writing import Found

CROPS = "crops"  # the folder of what is cut out, by class


def draw(found: Found, folder: Path, classes: Sequence[str]) -> None:
    """The image with its detections on it; small ones are enlarged a whole number of times."""
    save(draw_detections(found.picture.pixels, found.detections, classes), folder / found.drawing)


def cut(found: Found, folder: Path, classes: Sequence[str]) -> None:
    """Each detection as a picture of its own, CROPS/CLASS/STEM-NUMBER.png; numbers follow the scores, from 1 on.

    A class's folder has its name in the letters that every file system takes.
    """
    names = slugs(classes)
    for number, (box, _, label) in enumerate(found.rows(), 1):
        pixels = inside(box, found.picture.pixels)
        if pixels.size:
            place = folder / CROPS / names[classes[label]]
            place.mkdir(parents=True, exist_ok=True)
            save(Image.fromarray(np.ascontiguousarray(pixels[..., ::-1])), place / f"{found.file.stem}-{number}.png")


def inside(box: Sequence[float], pixels: np.ndarray) -> np.ndarray:
    """The pixels (h, w, 3) that a box (xyxy) touches, of an image's (H, W, 3); none where it lies beside the image.

    >>> inside((-3.0, 1.2, 2.5, 3.0), np.zeros((10, 20, 3))).shape
    (2, 3, 3)
    """
    left, top = (max(0, math.floor(side)) for side in box[:2])
    right, bottom = (max(0, math.ceil(side)) for side in box[2:])
    return pixels[top:bottom, left:right]


def save(image: Image.Image, path: Path) -> None:
    """Write a PNG whole; lightly compressed, which is several times faster and little larger."""
    write_whole(lambda aside: image.save(aside, format="PNG", compress_level=1), path)
