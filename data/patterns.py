"""Procedural grey patterns: scalar fields in [0, 1] that a scene colours by blending between two colours.

Each pattern is a function ``(rng, height, width) -> (height, width) float32``; `PATTERNS` lists them all.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

__all__ = ["PATTERNS", "Pattern", "random_pattern"]

Pattern = Callable[[np.random.Generator, int, int], np.ndarray]


def plain(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """One constant value."""
    return np.full((height, width), rng.random(), np.float32)


def gradient(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A ramp in a random direction, straight or bent."""
    return _unit(_direction(rng, height, width)) ** np.float32(rng.uniform(0.6, 1.6))


def stripes(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Parallel bands, from soft waves to hard edges, slightly bent."""
    bend = 4.0 * value_noise(rng, height, width) * rng.random()
    wave = np.sin(2 * np.pi * (_direction(rng, height, width) / rng.uniform(5, 28)) + bend)
    return _harden(wave, rng)


def checks(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A chequered field, turned at random."""
    rows, columns = _turned_grid(rng, height, width)
    period_rows, period_columns = rng.uniform(10, 40, 2)
    return _harden(np.sin(2 * np.pi * rows / period_rows) * np.sin(2 * np.pi * columns / period_columns), rng)


def value_noise(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Smooth noise: random grids of doubling resolution, enlarged and summed with falling weight."""
    cells, roughness = rng.uniform(2, 6), rng.uniform(0.35, 0.75)
    total = np.zeros((height, width), np.float32)
    for octave in range(4):
        grid = rng.random((round(cells * 2**octave),) * 2, np.float32)
        total += np.float32(roughness**octave) * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
    return _unit(total)


def speckle(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Fine grain, blurred by a random amount."""
    grain = cv2.GaussianBlur(rng.random((height, width), np.float32), (0, 0), rng.uniform(0.5, 1.6))
    return _unit(grain)


def cells(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Flat patches around random seeds (a Voronoi diagram)."""
    seeds = rng.random((rng.integers(5, 16), 2), np.float32) * np.float32([height, width])
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    distance = (rows[..., None] - seeds[:, 0]) ** 2 + (columns[..., None] - seeds[:, 1]) ** 2  # (H, W, seeds)
    return rng.random(len(seeds), np.float32)[distance.argmin(-1)]


PATTERNS: tuple[Pattern, ...] = (plain, gradient, stripes, checks, value_noise, speckle, cells)


def random_pattern(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """One pattern drawn at random, or two of them mixed: (height, width) float32 in [0, 1]."""
    first, second = rng.integers(len(PATTERNS), size=2)
    share = np.float32(rng.choice([0.0, 0.0, rng.uniform(0.2, 0.6)]))
    field = PATTERNS[first](rng, height, width)
    return field if share == 0 else (1 - share) * field + share * PATTERNS[second](rng, height, width)


def _turned_grid(rng: np.random.Generator, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixel coordinates turned by a random angle and shifted by a random phase."""
    angle, shift = rng.uniform(0, np.pi), rng.uniform(0, 100, 2).astype(np.float32)
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    sine, cosine = np.float32(np.sin(angle)), np.float32(np.cos(angle))
    return cosine * rows - sine * columns + shift[0], sine * rows + cosine * columns + shift[1]


def _direction(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    return _turned_grid(rng, height, width)[0]


def _harden(wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Map a wave in [-1, 1] to [0, 1] with a random edge sharpness."""
    return (0.5 + 0.5 * np.tanh(wave * rng.uniform(0.7, 6.0))).astype(np.float32)


def _unit(field: np.ndarray) -> np.ndarray:
    """Stretch a field to [0, 1]."""
    low, high = field.min(), field.max()
    return (field - low) / np.float32(max(high - low, 1e-6))
