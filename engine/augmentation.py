"""Training augmentations by name, as mmdet's transforms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .dense_objects import DenseObjects

UNLIMITED = 100_000  # pixels, a long side that no image has
SHORT_SIDES = [share / 25 for share in range(15, 26)]  # of the scale's short side: 480, 512, …, 800 of 800
SHORT_SIDES_BEFORE_CROP = (1 / 2, 5 / 8, 3 / 4)  # 400, 500, 600
CROP = (12 / 25, 3 / 4)  # 384 to 600


def detr(scale: tuple[int, int], keep_ratio: bool = True) -> dict[str, Any]:
    """DETR's (arXiv 2005.12872): a random size; every other time a random size and a crop first.

    All lengths go with the scale; at (1333, 800) they are DETR's own. Boxes are clipped to the crop, those outside it are
    dropped, and a crop without any box is kept. Sizes are rounded, where DETR's code rounds the long side down.

    Args:
        scale: longest long side and longest short side, pixels, in any order.
        keep_ratio: must be true.

    Raises:
        ValueError: when keep_ratio is false.
    """
    if not keep_ratio:
        raise ValueError("input.keep_ratio: the augmentation 'detr' keeps the ratio of sides; got False")
    long, short = max(scale), min(scale)
    resize = _resize(_pixels(SHORT_SIDES, short), long)
    crop = {
        "type": "RandomCrop",
        "crop_type": "absolute_range",
        "crop_size": tuple(_pixels(CROP, short)),
        "allow_negative_crop": True,
    }
    first = _resize(_pixels(SHORT_SIDES_BEFORE_CROP, short), UNLIMITED)
    return {"type": "RandomChoice", "transforms": [[resize], [first, crop, resize]]}


def dense(scale: tuple[int, int], keep_ratio: bool = True) -> dict[str, Any]:
    """DEIM's (arXiv 2412.04234): mosaics and mixtures in the middle of the training; see `DenseObjects`.

    Args:
        scale: width and height, pixels.
        keep_ratio: in resizing.
    """
    return {"type": DenseObjects, "scale": scale, "keep_ratio": keep_ratio}


AUGMENTATIONS: dict[str, Callable[[tuple[int, int], bool], dict[str, Any]]] = {"detr": detr, "dense": dense}


def _resize(short_sides: Sequence[int], longest: int) -> dict[str, Any]:
    """To a random short side, the long one at most `longest`."""
    return {"type": "RandomChoiceResize", "scales": [(longest, side) for side in short_sides], "keep_ratio": True}


def _pixels(shares: Sequence[float], length: int) -> list[int]:
    return [round(share * length) for share in shares]
