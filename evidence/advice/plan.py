"""How a probe spends its minutes: seeds, the length of a run, and the input size that leaves a run enough steps."""

from __future__ import annotations

import math

SEEDS = 3  # of a probe that has time for them
LEAST_MINUTES = 1.0  # of a run that is to say anything
LEAST_STEPS = 150  # of the same
LEAST_SIDE = 160  # of a probe's input, pixels
CELL = 32  # sides are multiples of it


def plan_probe(minutes: float, rows: int, jobs: int) -> tuple[int, float]:
    """Seeds and minutes of each run, so that all runs together take so many minutes.

    >>> plan_probe(60, rows=4, jobs=2), plan_probe(10, rows=5, jobs=1), plan_probe(1, rows=5, jobs=1)
    ((3, 10.0), (2, 1.0), (1, 0.2))
    """
    in_all = minutes * jobs / rows
    seeds = max(1, min(SEEDS, int(in_all / LEAST_MINUTES)))
    return seeds, in_all / seeds


def probe_side(wanted: int, minutes: float, seconds: float) -> int:
    """The side, pixels, of a probe's input: that which is wanted, or smaller where a run would have too few steps.

    Args:
        wanted: side that the data ask for.
        minutes: of a run.
        seconds: that a step takes at a side of `LEAST_SIDE`; it grows with the area.

    >>> probe_side(640, minutes=10, seconds=0.2), probe_side(640, minutes=2, seconds=0.2), probe_side(640, 0.5, 1.0)
    (640, 320, 160)
    """
    most = LEAST_SIDE * math.sqrt(60 * minutes / (LEAST_STEPS * seconds))
    return min(wanted, max(LEAST_SIDE, int(most) // CELL * CELL))
