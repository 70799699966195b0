"""Training augmentations by name, as mmdet's transforms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .dense_objects import DenseObjects

PICTURES = ("color", "zoom", "mosaic", "mixup")
PLAIN_FROM = 0.9  # of the training: as YOLOX and ultralytics leave mosaics out of the last epochs
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


def pictures(settings: Mapping[str, Any], sizing: dict[str, Any]) -> dict[str, Any]:
    """What a config's input does to pictures before their size is chosen, and that choice; it alone where nothing else is done.

    Args:
        settings: "color", "zoom", "mosaic" and "mixup" are probabilities, None for never; from "plain_from" of the training on,
            usually PLAIN_FROM, there are no mosaics and no mixtures.
        sizing: the transform that gives a picture its size.

    Raises:
        ValueError: for `dense`, which does all of that in its own way.
    """
    chosen = {name: settings[name] for name in PICTURES if settings.get(name)}
    if not chosen:
        return sizing
    if sizing["type"] is DenseObjects:
        raise ValueError(
            f"input.{next(iter(chosen))}: 'dense' of input.augmentation has its own colours, mosaics and mixtures; leave one "
            "out"
        )
    plain = settings.get("plain_from")
    end = PLAIN_FROM if plain is None else plain
    shares = {**dict.fromkeys(PICTURES, 0.0), **chosen, "stages": (0.0, end, 1.0)}
    return {"type": DenseObjects, "scale": tuple(settings["scale"]), "sizing": sizing, **shares}


AUGMENTATIONS: dict[str, Callable[[tuple[int, int], bool], dict[str, Any]]] = {"detr": detr, "dense": dense}


def _resize(short_sides: Sequence[int], longest: int) -> dict[str, Any]:
    """To a random short side, the long one at most `longest`."""
    return {"type": "RandomChoiceResize", "scales": [(longest, side) for side in short_sides], "keep_ratio": True}


def _pixels(shares: Sequence[float], length: int) -> list[int]:
    return [round(share * length) for share in shares]
