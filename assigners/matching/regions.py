"""Regions: where the samples of a target may lie, by the place of their points alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from numbers import Real
from operator import and_
from typing import Any

from torch import Tensor

from ..boxes import center
from ..structures import Predictions, Targets


@dataclass(frozen=True)
class Region:
    """In the target's box, in a square about its centre, in both, or in either.

    Attributes:
        inside: the point lies in the box, farther than `margin` pixels from every side.
        margin: see inside.
        radius: the point lies in the square of this half side, in strides of its own, about the box's centre; None asks for
            no square.
        either: one of the two is enough.

    Raises:
        ValueError: when it asks for neither, and for a margin or radius that is no number of at least 0.
    """

    inside: bool = True
    margin: float = 0.0
    radius: float | None = None
    either: bool = False

    def __post_init__(self) -> None:
        if not self.inside and self.radius is None:
            raise ValueError("region: expected a box (inside), a square (radius) or both, got neither")
        for name, value in (("margin", self.margin), ("radius", self.radius or 0)):
            if not isinstance(value, Real) or not value >= 0:
                raise ValueError(f"{name}: expected a number of at least 0, got {value!r}")

    @classmethod
    def of(cls, spec: Region | Mapping[str, Any] | None) -> Region | None:
        """A region from its arguments, or itself; None is everywhere."""
        if spec is None or isinstance(spec, Region):
            return spec
        if not isinstance(spec, Mapping) or not set(spec) <= {"inside", "margin", "radius", "either"}:
            raise ValueError(f"region: expected some of inside, margin, radius and either, got {spec!r}")
        return cls(**spec)

    @property
    def kind(self) -> tuple[bool, ...]:
        """What it asks for, whatever its sizes."""
        return self.inside, self.radius is not None, self.either

    def holds(self, predictions: Predictions, targets: Targets) -> Tensor:
        """(B, M, N) bool, whether each sample's point lies in each target's region."""
        if self.radius is None:
            return self._in_box(predictions, targets)
        near = _near_center(self.radius, predictions, targets)
        if not self.inside:
            return near
        within = self._in_box(predictions, targets)
        return near | within if self.either else near & within

    def _in_box(self, predictions: Predictions, targets: Targets) -> Tensor:
        x, y = (value[:, None] for value in predictions.all_points.unbind(-1))  # (B, 1, N)
        left, top, right, bottom = (value[:, :, None] for value in targets.boxes.unbind(-1))  # (B, M, 1)
        sides = (x, left), (right, x), (y, top), (bottom, y)
        return reduce(
            and_, (after > before if not self.margin else after - before > self.margin for after, before in sides)
        )


def _near_center(radius: float, predictions: Predictions, targets: Targets) -> Tensor:
    points, middle = predictions.all_points.unbind(-1), center(targets.boxes).unbind(-1)
    reach = radius * predictions.all_strides[:, None]
    across, down = ((c[:, :, None] - p[:, None]).abs() < reach for p, c in zip(points, middle, strict=True))
    return across & down
