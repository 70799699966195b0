"""The proportions of the generated scenes, by name."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

__all__ = ["SceneStyle"]


@dataclass(frozen=True)
class SceneStyle:
    """Proportions of the generated scenes. Shares are in [0, 1]; a side is the longer side of an object's box.

    Raises ValueError naming the field when a value makes no sense.
    """

    empty_share: float = 0.03  # images without objects
    crowd_share: float = 0.06  # images with many objects, most of them in clusters
    largest_count: int = 6  # objects in an ordinary image: 1 to this, before hidden ones are left out
    largest_crowd: int = 24  # objects in a crowd: largest_count to this, before hidden ones are left out
    cluster_share: float = 0.25  # objects of an ordinary image put beside an earlier one of the same class
    crowd_cluster_share: float = 0.80  # the same in a crowd
    smallest_side: float = 8.0  # pixels
    typical_side: float = 0.40  # image sides; the most frequent one
    largest_side: float = 0.90  # image sides
    crowd_typical_side: float = 0.15  # image sides
    crowd_largest_side: float = 0.45  # image sides
    largest_stretch: float = 1.4  # ratio of the axes of the random affine map of an outline
    truncation_share: float = 0.15  # objects that may cross the border
    least_visible: float = 0.35  # share of an object that must stay visible, else it is left out
    least_contrast: float = 0.30  # mean colour difference between an object and what lies behind it, of 1
    largest_contrast: float = 0.65
    distractors: float = 2.0  # mean number per image
    overlay_share: float = 0.10  # images with thin strokes drawn over the objects
    noise: float = 0.03  # largest standard deviation of the pixel noise, of 1

    def __post_init__(self) -> None:
        for field in fields(self):
            _check_number(field.name, getattr(self, field.name))
        _check_order(self, 1, "largest_count", "largest_crowd")
        _check_order(self, 0, "least_contrast", "largest_contrast")
        _check_order(self, 0, "typical_side", "largest_side", 1)
        _check_order(self, 0, "crowd_typical_side", "crowd_largest_side", 1)
        if self.smallest_side < 4:
            raise ValueError(f"smallest_side must be at least 4 pixels, got {self.smallest_side!r}")
        if self.largest_stretch < 1:
            raise ValueError(f"largest_stretch must be at least 1, got {self.largest_stretch!r}")

    def side_range(self, crowd: bool, size: int) -> tuple[float, float, float]:
        """Smallest, most frequent and largest longer side in pixels for an image of `size` pixels."""
        typical = self.crowd_typical_side if crowd else self.typical_side
        largest = max(self.smallest_side + 1, (self.crowd_largest_side if crowd else self.largest_side) * size)
        return self.smallest_side, float(np.clip(typical * size, self.smallest_side, largest)), largest


def _check_number(name: str, value: float) -> None:
    if not isinstance(value, int | float) or not np.isfinite(value) or value < 0:
        raise ValueError(f"{name} must be a finite number of at least 0, got {value!r}")
    if name.endswith("_share") and value > 1:
        raise ValueError(f"{name} must be a share between 0 and 1, got {value!r}")
    if name in ("largest_count", "largest_crowd") and not isinstance(value, int):
        raise ValueError(f"{name} must be a whole number, got {value!r}")


def _check_order(style: SceneStyle, low: float, smaller: str, larger: str, high: float = np.inf) -> None:
    first, second = getattr(style, smaller), getattr(style, larger)
    if not low <= first <= second <= high:
        raise ValueError(f"expected {low} <= {smaller} <= {larger} <= {high}, got {first!r} and {second!r}")
