"""How a probe spends its minutes: seeds, the length of a run, and the input size that leaves a run enough steps."""

from __future__ import annotations

from collections.abc import Mapping

SEEDS = 3  # of a probe that has time for them
LEAST_MINUTES = 1.0  # of a run that is to say anything
LEAST_STEPS = 150  # of such a run
TIMED = (160, 320)  # sides at which a step is timed, pixels; no probe's input is smaller than the first
MULTIPLE = 32  # of which sides are
WORTH = 1.5  # times as long as at the smallest: a step that takes no longer is not made shorter


def plan_probe(minutes: float, rows: int, jobs: int) -> tuple[int, float]:
    """Seeds and minutes of each run, so that all runs together take so many minutes.

    >>> plan_probe(60, rows=4, jobs=2), plan_probe(10, rows=5, jobs=1), plan_probe(1, rows=5, jobs=1)
    ((3, 10.0), (2, 1.0), (1, 0.2))
    """
    in_all = minutes * jobs / rows
    seeds = max(1, min(SEEDS, int(in_all / LEAST_MINUTES)))
    return seeds, in_all / seeds


def probe_side(wanted: int, minutes: float, seconds: Mapping[int, float]) -> int:
    """The side, pixels, of a probe's input: that which is wanted, or smaller where a run would have too few steps.

    Args:
        wanted: side that the data ask for.
        minutes: of a run.
        seconds: that a step takes at the `TIMED` sides. One part of it is the same at every side, as decoding is, the other
            grows with the area.

    >>> by_area = {160: 0.19, 320: 0.76}
    >>> probe_side(640, 10, by_area), probe_side(640, 2, by_area), probe_side(640, 0.1, by_area)
    (640, 320, 192)
    >>> probe_side(640, 1, {160: 1.0, 320: 1.05})
    640
    """
    (small, at_small), (large, at_large) = sorted(seconds.items())
    by_area = max(at_large - at_small, 0) / (large**2 - small**2)
    alike = at_small - by_area * small**2
    most = max(60 * minutes / LEAST_STEPS, WORTH * at_small)
    sides = [*range(small, wanted, MULTIPLE), wanted]
    return max(side for side in sides if side == small or alike + by_area * side**2 <= most)
