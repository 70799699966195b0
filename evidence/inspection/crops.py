"""Windows around objects that are too small to be seen in the whole image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

SMALL = 0.15  # of the image: an object whose sides are at most this share of the image's is shown enlarged
CONTEXT = 3  # sides of the object that a window is wide
LEAST_CELLS = 6  # cells of the finest level that a window is wide at least
LARGEST = 1 / 2  # of the image: a larger window would enlarge nothing

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Crop:
    """A window in the image's proportions.

    Attributes:
        box: xyxy, pixels, inside the image.
        targets: the small objects that lie in it, the smallest first.
        zoom: how many times larger than in the whole image it is shown at the same size.
    """

    box: Box
    targets: tuple[int, ...]
    zoom: float


def crops(
    boxes: Sequence[Sequence[float]], size: tuple[int, int], stride: float, limit: int | None = None
) -> list[Crop]:
    """Windows that hold every small object, as many as `limit` allows; the smallest object has the first.

    Args:
        boxes: M times xyxy, pixels.
        size: width and height of the image, pixels.
        stride: pixels per cell of the finest level.
        limit: at most so many windows; None is no limit.

    >>> crops([(0, 0, 50, 50), (50, 60, 54, 64)], (100, 100), 2)
    [Crop(box=(46.0, 56.0, 58.0, 68.0), targets=(1,), zoom=8.333333333333334)]
    """
    rest = sorted((share, index) for index, box in enumerate(boxes) if (share := _share(box, size)) <= SMALL)
    left, found = [index for _, index in rest], []
    while left and (limit is None or len(found) < limit):
        place, zoom = window(boxes[left[0]], size, stride)
        held = (left[0], *(index for index in left[1:] if _holds(place, boxes[index])))
        left = [index for index in left if index not in held]
        found.append(Crop(place, held, zoom))
    return found


def window(box: Sequence[float], size: tuple[int, int], stride: float, largest: float = LARGEST) -> tuple[Box, float]:
    """A window about a box, and how many times larger it is shown; `largest` is its share of the image at most."""
    share = min(max(CONTEXT * _share(box, size), LEAST_CELLS * stride / min(size)), largest)
    corner = []
    for low, high, whole in zip(box[:2], box[2:], size, strict=True):
        corner.append(float(min(max((low + high - share * whole) / 2, 0), (1 - share) * whole)))
    return (*corner, corner[0] + share * size[0], corner[1] + share * size[1]), 1 / share


def _share(box: Sequence[float], size: tuple[int, int]) -> float:
    """The larger of a box's sides as shares of the image's."""
    return max((box[2] - box[0]) / size[0], (box[3] - box[1]) / size[1])


def _holds(place: Box, box: Sequence[float]) -> bool:
    return place[0] <= box[0] and place[1] <= box[1] and box[2] <= place[2] and box[3] <= place[3]
