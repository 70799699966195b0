"""Where the objects and distractors of a generated scene lie, in depth order, and which of them stay visible."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .shapes import CLASSES, DISTRACTORS, draw_outline, fit_outline, stroke
from .style import SceneStyle

__all__ = ["Placed", "keep_visible", "place_distractor", "place_objects"]


@dataclass(frozen=True)
class Placed:
    """An outline at its place in an image."""

    label: int  # index into CLASSES, -1 for a distractor
    mask: np.ndarray  # (size, size) coverage in [0, 1]
    area: float  # pixels of the whole outline, the part outside the image included
    box: np.ndarray  # (4,) xyxy of the part inside the image
    side: float  # longer side of the whole outline's box, pixels
    paint_seed: int  # decides the colours; objects of a cluster may share it


def place_objects(rng: np.random.Generator, size: int, style: SceneStyle, allow_empty: bool) -> list[Placed]:
    """Objects back to front, hidden ones included; [] for an image without objects."""
    empty, crowd = rng.random(2) < (style.empty_share, style.crowd_share)
    if empty and allow_empty:
        return []
    placed: list[Placed] = []
    while not placed:
        for _ in range(rng.integers(style.largest_count if crowd else 1, _most(style, crowd) + 1)):
            clustered = placed and rng.random() < (style.crowd_cluster_share if crowd else style.cluster_share)
            neighbour = placed[rng.integers(len(placed))] if clustered else None
            placed += _place_object(rng, size, style, bool(crowd), neighbour)
    return placed


def place_distractor(rng: np.random.Generator, size: int, thin: bool = False) -> Placed | None:
    """A shape of no class anywhere, the border included; `thin` asks for a line. None when it lies outside."""
    kind = stroke if thin else DISTRACTORS[rng.integers(len(DISTRACTORS))]
    side = np.exp(rng.uniform(*np.log([0.08 * size, 0.7 * size])))
    outline = fit_outline(kind(rng), rng, side, 1.7)
    half = 0.5 * np.concatenate(outline).max(0)
    mask, area, box = draw_outline(outline, rng.uniform(-half, size - half), size)
    return None if box is None else Placed(-1, mask, area, box, side, int(rng.integers(2**63)))


def keep_visible(placed: list[Placed], least: float) -> tuple[list[Placed], np.ndarray]:
    """Leave out objects of which those kept in front and the border together leave less than the share `least`.

    Takes and returns objects back to front; also returns the visible share of each kept one, (M,).
    """
    kept, shares = [], []
    uncovered = np.float32(1)  # share of every pixel that the objects in front let through
    for candidate in reversed(placed):
        visible = float((candidate.mask * uncovered).sum()) / candidate.area
        if visible >= least:
            kept.append(candidate)
            shares.append(visible)
            uncovered = uncovered * (1 - candidate.mask)
    return kept[::-1], np.array(shares[::-1])


def _most(style: SceneStyle, crowd: bool) -> int:
    return style.largest_crowd if crowd else style.largest_count


def _place_object(
    rng: np.random.Generator, size: int, style: SceneStyle, crowd: bool, neighbour: Placed | None
) -> list[Placed]:
    """One object, free or overlapping a neighbour of its class; none when too little of it lies inside the image."""
    smallest, typical, largest = style.side_range(crowd, size)
    new_seed = int(rng.integers(2**63))
    if neighbour is None:
        label, paint_seed = int(rng.integers(len(CLASSES))), new_seed
        side = np.exp(rng.triangular(*np.log([smallest, typical, largest])))
    else:
        label, paint_seed = neighbour.label, neighbour.paint_seed if rng.random() < 0.5 else new_seed
        side = np.clip(neighbour.side * np.exp(rng.normal(0, 0.2)), smallest, largest)
    outline = fit_outline(list(CLASSES.values())[label](rng), rng, side, style.largest_stretch)
    extent = np.concatenate(outline).max(0)
    offset = _free_offset(rng, size, extent, style) if neighbour is None else _offset_beside(rng, neighbour, extent)
    mask, area, box = draw_outline(outline, offset, size)
    if box is None or (box[2:] - box[:2]).max() < smallest or mask.sum() < style.least_visible * area:
        return []
    return [Placed(label, mask, area, box, side, paint_seed)]


def _free_offset(rng: np.random.Generator, size: int, extent: np.ndarray, style: SceneStyle) -> np.ndarray:
    """Corner (x, y) anywhere with the box inside the image, or with up to half of it across the border."""
    margin = 0.5 * extent if rng.random() < style.truncation_share else np.zeros(2)
    return rng.uniform(-margin, size - extent + margin)


def _offset_beside(rng: np.random.Generator, neighbour: Placed, extent: np.ndarray) -> np.ndarray:
    """Corner (x, y) such that the two boxes overlap by between a little and a good half."""
    angle = rng.uniform(0, 2 * np.pi)
    reach = 0.5 * (extent + neighbour.box[2:] - neighbour.box[:2]) * rng.uniform(0.4, 1.0)
    return 0.5 * (neighbour.box[:2] + neighbour.box[2:] - extent) + reach * [np.cos(angle), np.sin(angle)]
