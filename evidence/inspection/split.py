"""What assigners give the objects of many images: a few numbers per object, and their means by size."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .samples import Samples

SIZES = {
    "small": (0.0, 32.0),
    "medium": (32.0, 96.0),
    "large": (96.0, np.inf),
}  # COCO's, sides of the square of equal area
COLUMNS = ("positives", "effective", "best_share", "best_iou")


@dataclass(frozen=True)
class SplitStatistics:
    """A assigners on O objects.

    Attributes:
        names: of the assigners.
        images: how many.
        sides: (O,) root of the objects' area, pixels of the images as they are stored.
        positives: (A, O) samples with w⁺.
        effective: (A, O) how many of equal w⁺ these amount to.
        best_share: (A, O) share of an object's w⁺ that its heaviest sample has; NaN without samples.
        best_iou: (A, O) highest IoU of the predicted boxes of its samples; NaN without.
    """

    names: tuple[str, ...]
    images: int
    sides: np.ndarray
    positives: np.ndarray
    effective: np.ndarray
    best_share: np.ndarray
    best_iou: np.ndarray

    def summary(self, assigner: int, low: float = 0.0, high: float = np.inf) -> dict[str, Any]:
        """Means of one assigner over the objects of a range of sides; None where there is nothing to take a mean of."""
        chosen = (self.sides >= low) & (self.sides < high)
        positives = self.positives[assigner, chosen]
        served = positives > 0
        return {
            "objects": int(chosen.sum()),
            "without": int((~served).sum()),
            "without_share": _mean(~served),
            "positives": _mean(positives),
            "effective": _mean(self.effective[assigner, chosen]),
            "best_share": _mean(self.best_share[assigner, chosen][served]),
            "best_iou": _mean(self.best_iou[assigner, chosen][served]),
        }

    def by_size(self, assigner: int) -> dict[str, dict[str, Any]]:
        """Of all objects, and of those that COCO calls small, medium and large."""
        whole = {"all": self.summary(assigner)}
        return whole | {name: self.summary(assigner, *limits) for name, limits in SIZES.items()}

    def octaves(self) -> list[tuple[float, float]]:
        """Ranges of sides, each twice the one before, that hold all objects."""
        if not len(self.sides):
            return []
        low, high = np.floor(np.log2(np.maximum([self.sides.min(), self.sides.max()], 1.0))).astype(int)
        ranges = [(2.0**power, 2.0 ** (power + 1)) for power in range(low, high + 1)]
        return [(0.0, ranges[0][1]), *ranges[1:]] if self.sides.min() < 1 else ranges

    def plain(self) -> dict[str, Any]:
        """All means in plain values."""
        return {
            "images": self.images,
            "objects": len(self.sides),
            "assigners": {
                name: {
                    **self.by_size(place),
                    "octaves": [
                        {"from": low, "to": high, **self.summary(place, low, high)} for low, high in self.octaves()
                    ],
                }
                for place, name in enumerate(self.names)
            },
        }


@dataclass
class Gathering:
    """Takes one image after the other, and keeps four numbers per object and assigner."""

    names: tuple[str, ...]
    images: int = 0
    _sides: list[np.ndarray] = field(default_factory=list)
    _numbers: list[np.ndarray] = field(default_factory=list)

    def add(self, boxes: np.ndarray, found: Iterable[Samples]) -> None:
        """An image's objects, (M, 4) xyxy in pixels as stored, and what each assigner gives them."""
        self.images += 1
        area = np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1)
        self._sides.append(np.sqrt(area).astype(np.float32))
        rows = [[each.share(index) for index in range(each.objects)] for each in found]
        self._numbers.append(np.array(rows, dtype=np.float32).reshape(len(self.names), len(boxes), len(COLUMNS)))

    def result(self) -> SplitStatistics:
        """The statistics of what was added.

        Raises:
            ValueError: when there is no object in it.
        """
        if not sum(map(len, self._sides)):
            raise ValueError(f"images: expected an object on one of {self.images}, there is none to tell about")
        numbers = np.moveaxis(np.concatenate(self._numbers, 1), 2, 0)
        return SplitStatistics(self.names, self.images, np.concatenate(self._sides), *numbers)


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if len(values) else None
