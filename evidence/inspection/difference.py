"""Where two assignments of one image disagree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .samples import Samples


@dataclass(frozen=True)
class Difference:
    """Two assignments of the same samples to the same M objects, beside each other.

    Attributes:
        first, second: the two.
        distance: (M,) how much of an object's w⁺, as shares that add up to 1, lies on other samples: 0 where both give it the
            same, 1 where they have no sample in common, or only one gives it any.
        common: (M,) samples that both give an object.
        only: (2, M) samples that the first, and the second, alone gives it.
    """

    first: Samples
    second: Samples
    distance: np.ndarray
    common: np.ndarray
    only: np.ndarray

    @property
    def order(self) -> list[int]:
        """The objects, those that differ most first."""
        return np.argsort(-self.distance, kind="stable").tolist()

    def only_in(self, side: int, index: int) -> list[int]:
        """The samples that one side, 0 or 1, alone gives an object, the heaviest first."""
        own, other = (each.weights(index) for each in ((self.first, self.second), (self.second, self.first))[side])
        return [sample for sample, weight in own.items() if weight > 0 and not other.get(sample, 0) > 0]

    def target(self, index: int) -> dict[str, Any]:
        """One object in plain values."""
        return {
            "difference": float(self.distance[index]),
            "common": int(self.common[index]),
            "only_first": self.only_in(0, index),
            "only_second": self.only_in(1, index),
        }


def difference_of(first: Samples, second: Samples) -> Difference:
    """The two beside each other.

    Raises:
        ValueError: when they are of different samples or objects.
    """
    for what in ("count", "objects"):
        if getattr(first, what) != getattr(second, what):
            raise ValueError(
                f"second: expected {getattr(first, what)} {what} as the first, got {getattr(second, what)}"
            )
    rows = [_compared(first.weights(index), second.weights(index)) for index in range(first.objects)]
    table = np.array(rows, dtype=np.float64).reshape(-1, 4)
    return Difference(first, second, table[:, 0], table[:, 1].astype(int), table[:, 2:].T.astype(int))


def _compared(first: dict[int, float], second: dict[int, float]) -> tuple[float, int, int, int]:
    """Distance, common samples, and those of one alone."""
    shares = _shares(first), _shares(second)
    both = shares[0].keys() & shares[1].keys()
    counts = len(both), len(shares[0]) - len(both), len(shares[1]) - len(both)
    if not any(shares):
        return 0.0, *counts
    return 1 - sum(min(shares[0][sample], shares[1][sample]) for sample in both), *counts


def _shares(weights: dict[int, float]) -> dict[int, float]:
    total = sum(weights.values())
    return {sample: weight / total for sample, weight in weights.items() if weight > 0}
