"""Colours of a generated scene: background, fillings with a drawn contrast, and the imagined camera.

Nothing here sees an object's class. A canvas is (size, size, 3) float32 RGB in [0, 1].
"""

from __future__ import annotations

import cv2
import numpy as np

from .patterns import random_pattern
from .style import SceneStyle

__all__ = ["expose", "paint", "paint_background"]


def paint_background(rng: np.random.Generator, size: int, saturation: float) -> np.ndarray:
    """A pattern blended between two random colours: a new canvas."""
    first, second = _colours(rng, 2, saturation)
    reach = np.float32(rng.uniform(0.2, 0.9))
    return first + random_pattern(rng, size, size)[..., None] * (reach * (second - first))


def paint(canvas: np.ndarray, mask: np.ndarray, seed: int, saturation: float, style: SceneStyle) -> None:
    """Lay a coloured, textured filling over the canvas in place, where `mask` (size, size) covers it.

    `seed` decides the filling; its contrast is measured against the mean colour of what lies behind.
    """
    rng = np.random.default_rng(seed)
    window = _window(mask)
    mask, behind = mask[window], canvas[window]
    colour = _contrasting(rng, cv2.mean(behind, (mask > 0).astype(np.uint8))[:3], saturation, style)
    filled = np.clip(colour + _texture(rng, mask, saturation) + _rim(rng, mask), 0, 1)
    canvas[window] = behind + mask[..., None] * (filled - behind)


def expose(rng: np.random.Generator, canvas: np.ndarray, noise: float) -> np.ndarray:
    """Blur, uneven light, gain and pixel noise of an imagined camera: (size, size, 3) uint8."""
    if rng.random() < 0.3:
        canvas = cv2.GaussianBlur(canvas, (0, 0), rng.uniform(0.3, 0.9))
    light = 1 + rng.uniform(-0.35, 0.35) * np.linspace(-0.5, 0.5, len(canvas), dtype=np.float32)
    light = (light[:, None] if rng.random() < 0.5 else light[None, :]) * rng.uniform(0.7, 1.15)
    grain = rng.standard_normal(canvas.shape, np.float32) * np.float32(rng.uniform(0, noise))
    exposed = canvas * light[..., None].astype(np.float32) + grain
    return (np.clip(exposed, 0, 1) * 255 + 0.5).astype(np.uint8)


def _colours(rng: np.random.Generator, count: int, saturation: float) -> np.ndarray:
    """Random colours (count, 3) between grey (saturation 0) and any colour (saturation 1)."""
    return np.float32(saturation) * rng.random((count, 3), np.float32) + np.float32(1 - saturation) * rng.random(
        (count, 1), np.float32
    )


def _contrasting(
    rng: np.random.Generator, behind: tuple[float, ...], saturation: float, style: SceneStyle
) -> np.ndarray:
    """The colour (3,), of a few random ones, whose difference to `behind` comes closest to a drawn contrast."""
    contrast = style.least_contrast + (style.largest_contrast - style.least_contrast) * (1 - np.sqrt(rng.random()))
    candidates = _colours(rng, 48, saturation)
    difference = np.abs(candidates - np.float32(behind)).mean(1)
    return candidates[np.abs(difference - contrast).argmin()]


def _texture(rng: np.random.Generator, mask: np.ndarray, saturation: float) -> np.ndarray:
    """Deviation from the plain colour, (h, w, 3): a pattern along a random direction of colour space."""
    strength = np.float32(max(0.0, rng.uniform(-0.15, 0.3)))
    return (random_pattern(rng, *mask.shape) - np.float32(0.5))[..., None] * (strength * _colours(rng, 1, saturation))


def _rim(rng: np.random.Generator, mask: np.ndarray) -> np.ndarray:
    """Lighter or darker inner edge, about a pixel wide, on half of the shapes: (h, w, 1)."""
    strength = np.float32(rng.choice([-1, 0, 0, 1]) * rng.uniform(0.1, 0.4))
    padded = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    return (strength * (mask - cv2.erode(padded, np.ones((3, 3), np.uint8))[1:-1, 1:-1]))[..., None]


def _window(mask: np.ndarray) -> tuple[slice, slice]:
    """The smallest rectangle, rows and columns, that holds everything a mask covers."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
