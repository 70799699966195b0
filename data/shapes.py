"""Outlines of the generated classes and of the distractors, and their anti-aliased masks.

An outline is a list of closed contours, each (K, 2) xy in any unit, filled by the even-odd rule, so that an inner
contour is a hole. A class is told apart by its outline alone.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

__all__ = ["CLASSES", "DISTRACTORS", "Outline", "draw_outline", "fit_outline"]

Outline = list[np.ndarray]

_CIRCLE_POINTS = 72  # a 150 px disk then deviates from a circle by 0.07 px
_SUPERSAMPLING = 4  # masks are drawn at four times the resolution and averaged: edges in 16 grey levels


def disk(rng: np.random.Generator) -> Outline:
    """A filled circle (an ellipse once stretched)."""
    return [_arc(1.0)]


def ring(rng: np.random.Generator) -> Outline:
    """A circle with a round hole."""
    return [_arc(1.0), _arc(rng.uniform(0.45, 0.68))]


def triangle(rng: np.random.Generator) -> Outline:
    """Three corners, roughly a third of a turn apart."""
    return [_on_circle(np.arange(3) / 3 + rng.uniform(-0.04, 0.04, 3))]


def rectangle(rng: np.random.Generator) -> Outline:
    """Four corners."""
    half = rng.uniform(0.7, 1.0)
    return [np.array([[-1, -half], [1, -half], [1, half], [-1, half]])]


def star(rng: np.random.Generator) -> Outline:
    """Five points."""
    radius = np.where(np.arange(10) % 2, rng.uniform(0.36, 0.46), 1.0)
    return [_on_circle(np.arange(10) / 10) * radius[:, None]]


CLASSES: dict[str, Callable[[np.random.Generator], Outline]] = {
    "disk": disk,
    "ring": ring,
    "triangle": triangle,
    "rectangle": rectangle,
    "star": star,
}


def crescent(rng: np.random.Generator) -> Outline:
    """A disk with a bite as large as itself."""
    bite = _arc(rng.uniform(0.75, 0.95), 0.30, 0.70)[::-1] + np.array([rng.uniform(0.25, 0.5), 0])
    return [np.concatenate([_arc(1.0, 0.25, 0.75), bite])]


def open_arc(rng: np.random.Generator) -> Outline:
    """A part of a ring, at most two thirds of it."""
    stop, inner = rng.uniform(0.25, 0.66), rng.uniform(0.6, 0.85)
    return [np.concatenate([_arc(1.0, 0, stop), _arc(inner, 0, stop)[::-1]])]


def chevron(rng: np.random.Generator) -> Outline:
    """Two bars that meet at a corner."""
    depth, thickness = rng.uniform(0.5, 1.0), rng.uniform(0.35, 0.6)
    upper = np.array([[-1, 0], [0, depth], [1, 0]])
    return [np.concatenate([upper, upper[::-1] - [0, thickness]])]


def lobes(rng: np.random.Generator) -> Outline:
    """A soft blob with two to four deep lobes."""
    turn = np.linspace(0, 1, _CIRCLE_POINTS, endpoint=False)
    waves = rng.uniform(0.3, 0.5) * np.cos(2 * np.pi * rng.integers(2, 5) * turn)
    waves += rng.uniform(0.1, 0.25) * np.cos(2 * np.pi * (rng.integers(1, 4) * turn + rng.random()))
    return [_on_circle(turn) * (1 + waves)[:, None]]


def stroke(rng: np.random.Generator) -> Outline:
    """A thin winding line."""
    heading = np.cumsum(rng.normal(0, 0.5, 14)) + rng.uniform(0, 2 * np.pi)
    path = np.cumsum(np.stack([np.cos(heading), np.sin(heading)], 1), 0)
    return [_thicken(path, rng.uniform(0.10, 0.45))]


def scribble(rng: np.random.Generator) -> Outline:
    """Some short bars side by side, like letters of an unknown script."""
    bars = []
    for column in range(rng.integers(2, 6)):
        for _ in range(rng.integers(1, 4)):
            ends = rng.choice([-1.0, 0.0, 1.0], (2, 2)) * [0.6, 1.0] + [1.8 * column, 0]
            bars.append(_thicken(ends + rng.normal(0, 0.08, (2, 2)), 0.16))
    return bars


DISTRACTORS: tuple[Callable[[np.random.Generator], Outline], ...] = (
    crescent,
    open_arc,
    chevron,
    lobes,
    stroke,
    scribble,
)


def fit_outline(outline: Outline, rng: np.random.Generator, side: float, stretch: float) -> Outline:
    """Turn and stretch an outline at random, then scale it so that the longer side of its box is `side` pixels.

    The result starts at (0, 0). `stretch` is the largest ratio of the two axes of the random affine map.
    """
    ratio = np.exp(rng.uniform(0, np.log(stretch)))
    matrix = _rotation(rng) @ np.diag([ratio, 1.0]) @ _rotation(rng)
    turned = [contour @ matrix.T for contour in outline]
    low, high = np.concatenate(turned).min(0), np.concatenate(turned).max(0)
    return [(contour - low) * (side / (high - low).max()) for contour in turned]


def draw_outline(outline: Outline, offset: np.ndarray, size: int) -> tuple[np.ndarray, float, np.ndarray | None]:
    """Draw an outline into a square image of `size` pixels with its box starting at `offset` (x, y).

    Returns the coverage mask (size, size) float32 in [0, 1], the area in pixels of the whole outline, the part
    outside the image included, and the box (4,) xyxy of the part inside, or None when nothing lies inside.
    Coordinates are exact to a quarter of a pixel.
    """
    start = np.floor(offset).astype(int)
    fine = _fine_mask(outline, offset - start)
    low, high = np.maximum(0, -start), np.minimum(np.array(fine.shape[::-1]) // _SUPERSAMPLING, size - start)
    mask = np.zeros((size, size), np.float32)
    area = float(fine.sum()) / _SUPERSAMPLING**2
    if (high <= low).any():
        return mask, area, None
    (left, top), (right, bottom) = low * _SUPERSAMPLING, high * _SUPERSAMPLING
    inside = fine[top:bottom, left:right]
    patch = cv2.resize(inside.astype(np.float32), (high - low).tolist(), interpolation=cv2.INTER_AREA)
    (left, top), (right, bottom) = start + low, start + high
    mask[top:bottom, left:right] = patch
    return mask, area, _extent(inside, start + low)


def _fine_mask(outline: Outline, fraction: np.ndarray) -> np.ndarray:
    """The outline, moved by a fraction of a pixel, in a picture of its own at `_SUPERSAMPLING` times the resolution."""
    width, height = np.ceil(np.concatenate(outline).max(0) + fraction).astype(int) + 1
    fine = np.zeros((height * _SUPERSAMPLING, width * _SUPERSAMPLING), np.uint8)
    cv2.fillPoly(fine, [np.round((c + fraction) * _SUPERSAMPLING - 0.5).astype(np.int32) for c in outline], 1)
    return fine


def _extent(inside: np.ndarray, origin: np.ndarray) -> np.ndarray | None:
    """Box xyxy in pixels of the set cells of a fine mask whose first cell lies at `origin` (x, y)."""
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    if not len(rows):
        return None
    fine = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
    return fine / _SUPERSAMPLING + np.tile(origin, 2)


def _arc(radius: float, start: float = 0.0, stop: float = 1.0) -> np.ndarray:
    return radius * _on_circle(np.linspace(start, stop, _CIRCLE_POINTS, endpoint=stop - start < 1))


def _on_circle(turns: np.ndarray) -> np.ndarray:
    angle = 2 * np.pi * turns
    return np.stack([np.cos(angle), np.sin(angle)], 1)


def _rotation(rng: np.random.Generator) -> np.ndarray:
    angle = rng.uniform(0, 2 * np.pi)
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def _thicken(path: np.ndarray, width: float) -> np.ndarray:
    """The band of half-width `width` around a path (K, 2)."""
    along = np.gradient(path, axis=0)
    across = np.stack([-along[:, 1], along[:, 0]], 1)
    across *= width / np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-6)
    return np.concatenate([path + across, (path - across)[::-1]])
