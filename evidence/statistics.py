"""What a few training runs can say: means with intervals, paired differences with an exact test, and how many runs would do.

Seeds are the repetitions. Two assigners that were trained from the same seed saw the same images in the same order, so their
differences are taken seed by seed. Whatever is in here is a pure function of numbers; nothing of it knows what an AP is.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import stats

__all__ = [
    "BOOTSTRAP_FROM",
    "LEVEL",
    "POWER",
    "Difference",
    "Interval",
    "Sample",
    "bootstrap_interval",
    "corrected",
    "deviation_limits",
    "holm",
    "interval",
    "least_p",
    "paired",
    "power",
    "seeds_for_test",
    "seeds_needed",
    "sign_flip",
    "summarise",
    "t_interval",
    "t_test",
]

LEVEL, POWER = 0.05, 0.8  # an error of the first kind; the chance to see what is there
RESAMPLES = 9999  # of a bootstrap
EXACT = 16  # differences whose 2^n sign flips are all looked at; of more as many are drawn
BOOTSTRAP_FROM = 20  # values from which on a bootstrap interval nearly holds what it promises; see `interval`
MOST_SEEDS = 10**6  # nobody trains more


@dataclass(frozen=True)
class Interval:
    """Where a mean lies with 95 % confidence, and how that was found: "t" or "BCa bootstrap"."""

    low: float
    high: float
    method: str


@dataclass(frozen=True)
class Sample:
    """Values of several seeds. One seed has no spread, and so neither a standard deviation nor an interval."""

    count: int
    mean: float
    deviation: float | None
    interval: Interval | None


@dataclass(frozen=True)
class Difference:
    """A row less its baseline, over the seeds that both have.

    Attributes:
        seeds: that both have.
        values: the differences, in their order.
        sample: what they come to.
        adjusted: p after Holm's correction over all rows that are compared; None before that.
        adjusted_t: the same of the t test.
    """

    seeds: tuple[int, ...]
    values: tuple[float, ...]
    sample: Sample
    adjusted: float | None = None
    adjusted_t: float | None = None

    @cached_property
    def p(self) -> float:
        """Two-sided, of the exact sign-flip test; see `sign_flip`."""
        return sign_flip(self.values)

    @cached_property
    def t_p(self) -> float:
        """Two-sided, of Student's test, for whoever takes seeds to be normally distributed; see `t_test`."""
        return t_test(self.values)

    @property
    def least_p(self) -> float:
        """What p cannot be below with so many seeds, whatever the differences are."""
        return least_p(len(self.values))

    @property
    def significant(self) -> bool:
        """Whether the corrected p, or p where nothing was corrected, is within the level."""
        return (self.p if self.adjusted is None else self.adjusted) <= LEVEL


def summarise(values: Sequence[float]) -> Sample:
    """Mean, standard deviation (n − 1) and the interval of the mean.

    Raises:
        ValueError: for no value, or one that is not finite.
    """
    array = _finite(values)
    spread = float(array.std(ddof=1)) if array.size > 1 else None
    return Sample(array.size, float(array.mean()), spread, interval(values))


def interval(values: Sequence[float]) -> Interval | None:
    """The 95 % interval of the mean that is shown: Student's t below `BOOTSTRAP_FROM` values, BCa bootstrap from there on.

    A bootstrap resamples what was seen, so its interval lies within the lowest and the highest value. Of n values around a
    symmetric mean all lie on one side of it with probability 2^(1−n), and an interval inside their range misses it at least
    as often: half of the time with two seeds, a quarter of the time with three, more than 5 % below six. With two or three
    seeds every bootstrap interval is the range itself, or little else. Student's t pays for what few values do not know
    with width: 4.3 standard errors on each side for three seeds, 12.7 for two. It assumes that runs of different seeds are
    normally distributed, which three of them can neither show nor refute. The bootstrap goes without that, and is taken
    where it has enough to resample: of 2000 draws of 3, 5, 10 and 20 normally distributed values 72, 83, 89 and 93 % of the
    BCa intervals held the mean, and 94 to 95 % of Student's.

    None for a single value.
    """
    return bootstrap_interval(values) if len(values) >= BOOTSTRAP_FROM else t_interval(values)


def t_interval(values: Sequence[float]) -> Interval | None:
    """Student's 95 % interval of the mean; None for a single value.

    >>> t_interval([1.0, 2.0, 3.0])
    Interval(low=-0.48..., high=4.48..., method='t')
    """
    array = _finite(values)
    if array.size < 2:
        return None
    error = array.std(ddof=1) / math.sqrt(array.size)
    reach = float(stats.t.ppf(1 - LEVEL / 2, array.size - 1) * error)
    return Interval(float(array.mean()) - reach, float(array.mean()) + reach, "t")


def bootstrap_interval(values: Sequence[float]) -> Interval | None:
    """The 95 % BCa bootstrap interval of the mean, the same for the same values; None for a single value.

    For few values it is too narrow; see `interval`. Equal values have no acceleration, and are their own interval.
    """
    array = _finite(values)
    if array.size < 2:
        return None
    if np.ptp(array) == 0:
        return Interval(float(array[0]), float(array[0]), "BCa bootstrap")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        found = stats.bootstrap(
            (array,), np.mean, confidence_level=1 - LEVEL, n_resamples=RESAMPLES, method="BCa", rng=_generator()
        )  # fmt: skip
    low, high = map(float, found.confidence_interval)
    return Interval(low, high, "BCa bootstrap")


def paired(values: Mapping[int, float], baseline: Mapping[int, float]) -> Difference | None:
    """What a row has more than its baseline, seed by seed; None where they share no seed.

    Args:
        values: by seed.
        baseline: by seed.
    """
    seeds = sorted(values.keys() & baseline.keys())
    if not seeds:
        return None
    differences = tuple(values[seed] - baseline[seed] for seed in seeds)
    return Difference(tuple(seeds), differences, summarise(differences))


def sign_flip(differences: Sequence[float]) -> float:
    """p of the two-sided sign-flip test: how often the mean is as far from 0 when any difference may be its opposite.

    That is the whole assumption: without an effect a difference is as likely as its opposite. All 2^n flips are looked at;
    for more than `EXACT` differences 2^16 are drawn. No p can be below 2^(1−n): see `least_p`.

    >>> sign_flip([0.3, 0.1, 0.2])
    0.25
    """
    array = _finite(differences)
    if array.size == 1:
        return 1.0  # both flips are as far from 0
    found = stats.permutation_test(
        (array,), np.mean, permutation_type="samples", vectorized=True, n_resamples=2**EXACT, rng=_generator()
    )  # fmt: skip
    return float(found.pvalue)


def t_test(differences: Sequence[float]) -> float:
    """p of Student's two-sided paired t test: below 0.05 where `t_interval` leaves out 0.

    It assumes that runs of different seeds are normally distributed, which few of them can neither show nor refute, and so
    has no least p. A single difference shows no spread: p is 1. Equal differences other than 0 have p 0.

    >>> t_test([1.0, 2.0, 3.0])
    0.0741...
    """
    array = _finite(differences)
    if array.size == 1 or not array.any():
        return 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of (nearly) equal differences, whose p is 0 as it should be
        return float(stats.ttest_1samp(array, 0.0).pvalue)


def least_p(count: int) -> float:
    """The smallest p that the sign-flip test can give for so many differences.

    >>> [least_p(count) for count in (1, 2, 3, 6)]
    [1.0, 0.5, 0.25, 0.03125]
    """
    return 2.0 ** (1 - count) if count <= EXACT else 2 / (2**EXACT + 1)


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's correction: the chance of one false alarm among all rows stays within the level, whatever depends on what.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    adjusted, highest = [0.0] * len(ps), 0.0
    for rank, index in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        highest = max(highest, min(1.0, (len(ps) - rank) * ps[index]))
        adjusted[index] = highest
    return adjusted


def corrected(differences: Sequence[Difference]) -> list[Difference]:
    """The same with Holm's correction over all of them, of either test by itself."""
    exact, students = holm([one.p for one in differences]), holm([one.t_p for one in differences])
    return [replace(one, adjusted=p, adjusted_t=t) for one, p, t in zip(differences, exact, students, strict=True)]


def seeds_for_test(rows: int = 1) -> int:
    """The fewest seeds with which the sign-flip test can find anything, among so many rows with Holm's correction.

    >>> seeds_for_test(), seeds_for_test(3)
    (6, 7)
    """
    return 1 + math.ceil(math.log2(max(rows, 1) / LEVEL))


def power(seeds: int, difference: float, deviation: float) -> float:
    """The chance that a two-sided paired t test of 5 % sees a true difference.

    Args:
        seeds: pairs, two at least.
        difference: that is true.
        deviation: standard deviation of the differences, in the same unit, above 0.
    """
    freedom, shift = seeds - 1, math.sqrt(seeds) * abs(difference) / deviation
    critical = stats.t.ppf(1 - LEVEL / 2, freedom)
    other_way = np.nan_to_num(stats.nct.cdf(-critical, freedom, shift))  # scipy has NaN for some that are below 1e-15
    return float(stats.nct.sf(critical, freedom, shift) + other_way)


def seeds_needed(difference: float, deviation: float) -> int | None:
    """How many seeds see a true difference with 80 % power in a two-sided paired t test of 5 %; None beyond a million.

    Args:
        difference: not 0.
        deviation: standard deviation of the differences, in the same unit. Of 0 two seeds see everything.

    >>> seeds_needed(0.5, 0.5)
    10
    """
    if deviation == 0:
        return 2
    enough = 2
    while power(enough, difference, deviation) < POWER:
        enough *= 2
        if enough > MOST_SEEDS:
            return None
    few = enough // 2  # not enough, unless both are 2
    while few + 1 < enough:
        middle = (few + enough) // 2
        few, enough = (few, middle) if power(middle, difference, deviation) >= POWER else (middle, enough)
    return enough


def deviation_limits(deviation: float, count: int) -> tuple[float, float]:
    """The 95 % interval of a standard deviation that so many normally distributed values have, two at least."""
    low, high = (stats.chi2.ppf(share, count - 1) for share in (1 - LEVEL / 2, LEVEL / 2))
    return deviation * math.sqrt((count - 1) / low), deviation * math.sqrt((count - 1) / high)


def _finite(values: Sequence[float]) -> np.ndarray:
    array = np.asarray(values, float)
    if array.ndim != 1 or not array.size or not np.isfinite(array).all():
        raise ValueError(f"values: expected one finite number or more, got {values!r}")
    return array


def _generator() -> np.random.Generator:
    """The same numbers tell the same, whenever they are asked."""
    return np.random.default_rng(0)
