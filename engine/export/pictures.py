"""How a picture reaches an exported network: resized, normalised, in the upper left corner of its canvas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from .metadata import LEAST, Metadata


@dataclass(frozen=True)
class Placed:
    """A picture as the network takes it.

    Attributes:
        values: (3, h, w) float32, normalised.
        factors: by how much it is wider and higher than the original.
    """

    values: np.ndarray
    factors: tuple[float, float]


def place(pixels: np.ndarray, about: Metadata) -> Placed:
    """A picture (H, W, 3) uint8 in BGR, resized as evaluation does it, and further where a fixed canvas is smaller."""
    height, width = pixels.shape[:2]
    size = resized(width, height, about)
    values = cv2.resize(pixels, size, interpolation=cv2.INTER_LINEAR)
    values = values[..., ::-1] if about.channels == "RGB" else values
    values = (values.astype(np.float32) - np.float32(about.mean)) / np.float32(about.std)
    return Placed(values.transpose(2, 0, 1), (size[0] / width, size[1] / height))


def resized(width: int, height: int, about: Metadata) -> tuple[int, int]:
    """Width and height that a picture is resized to.

    Raises:
        ValueError: when a side would be no pixel wide.
    """
    if not about.keep_ratio:
        return about.scale
    factor = min(max(about.scale) / max(width, height), min(about.scale) / min(width, height))
    factor = min(factor, (about.width or np.inf) / width, (about.height or np.inf) / height)
    size = int(width * factor + 0.5), int(height * factor + 0.5)
    if min(size) < 1:
        raise ValueError(f"{width} x {height} pixels cannot be brought to the model's size")
    return size


def canvas(placed: Sequence[Placed], about: Metadata) -> tuple[np.ndarray, np.ndarray]:
    """Images (B, 3, H, W) float32, padded with zeros, and sizes (B, 2) float32, width and height of each."""
    sizes = [one.values.shape[:0:-1] for one in placed]
    sides = [max(side) for side in zip(*sizes, strict=True)]
    width, height = (
        fixed or -(-max(side, LEAST) // about.multiple) * about.multiple
        for fixed, side in zip((about.width, about.height), sides, strict=True)
    )
    images = np.zeros((len(placed), 3, height, width), np.float32)
    for image, one, (w, h) in zip(images, placed, sizes, strict=True):
        image[:, :h, :w] = one.values
    return images, np.float32(sizes)
