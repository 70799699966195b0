"""Every statistic against an independent computation: hand-enumerated flips and resamples, integrals, tabled values."""

import itertools
import math
import statistics

import numpy as np
import pytest
from scipy import integrate
from scipy.stats import norm

from detassign.evidence.statistics import (
    BOOTSTRAP_FROM,
    EXACT,
    LEVEL,
    bootstrap_interval,
    corrected,
    deviation_limits,
    holm,
    interval,
    least_p,
    paired,
    power,
    seeds_for_test,
    seeds_needed,
    sign_flip,
    summarise,
    t_interval,
    t_test,
)

T_975 = {2: 12.706205, 3: 4.302653, 5: 2.776445}  # of printed tables, by number of values


def normal(count, seed=0):
    return np.random.default_rng(seed).normal(40.0, 2.0, count).tolist()


def flipped_by_hand(differences):
    """The share of all sign flips whose sum is as far from 0."""
    seen = abs(math.fsum(differences))
    sums = [
        abs(math.fsum(sign * d for sign, d in zip(signs, differences, strict=True)))
        for signs in itertools.product((1, -1), repeat=len(differences))
    ]
    return sum(value >= seen - 1e-12 for value in sums) / len(sums)


def power_by_integral(seeds, difference, deviation):
    """The t statistic is (Z + shift) / U with U a chi over its root of freedom: U is integrated out, Z is known."""
    from scipy.stats import chi, t

    freedom, shift = seeds - 1, math.sqrt(seeds) * difference / deviation
    critical = t.ppf(0.975, freedom)

    def beyond(u):
        return norm.sf(critical * u - shift) + norm.cdf(-critical * u - shift)

    def density(u):
        return chi.pdf(u * math.sqrt(freedom), freedom) * math.sqrt(freedom)

    return integrate.quad(lambda u: beyond(u) * density(u), 0, 20, limit=200)[0]


def bca_by_hand(values):
    """BCa of the mean from every resample there is."""
    values, count = np.array(values), len(values)
    means = np.sort([values[list(picked)].mean() for picked in itertools.product(range(count), repeat=count)])
    below = (np.sum(means < values.mean()) + np.sum(means <= values.mean())) / (2 * means.size)
    left_out = np.array([np.delete(values, i).mean() for i in range(count)])
    centred = left_out.mean() - left_out
    acceleration = (centred**3).sum() / (6 * (centred**2).sum() ** 1.5)
    shift = norm.ppf(below)
    limits = [shift + norm.ppf(share) for share in (0.025, 0.975)]
    return np.quantile(means, [norm.cdf(shift + z / (1 - acceleration * z)) for z in limits])


@pytest.mark.parametrize("count", [2, 3, 5])
def test_the_interval_of_few_seeds_is_students(count):
    values = normal(count)
    mean = sum(values) / count
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / (count - 1))
    found = summarise(values)
    assert (found.count, found.mean, found.deviation) == (count, pytest.approx(mean), pytest.approx(deviation))
    assert found.interval.method == "t"
    reach = T_975[count] * deviation / math.sqrt(count)
    assert found.interval.low == pytest.approx(mean - reach, rel=1e-6)
    assert found.interval.high == pytest.approx(mean + reach, rel=1e-6)


def test_one_seed_has_a_mean_and_nothing_else():
    found = summarise([40.0])
    assert (found.count, found.mean) == (1, 40.0)
    assert found.deviation is found.interval is bootstrap_interval([40.0]) is None


def test_with_many_seeds_the_bootstrap_is_shown():
    assert interval(normal(BOOTSTRAP_FROM)).method == "BCa bootstrap"
    assert interval(normal(BOOTSTRAP_FROM - 1)).method == "t"


def test_a_bootstrap_of_few_seeds_cannot_leave_their_range():
    for count in (2, 3):
        values = normal(count)
        found = bootstrap_interval(values)
        assert min(values) <= found.low <= found.high <= max(values)
        assert found.high - found.low < t_interval(values).high - t_interval(values).low


def test_the_bootstrap_is_that_of_all_resamples():
    values = normal(6)
    low, high = bca_by_hand(values)
    found = bootstrap_interval(values)
    width = high - low
    assert found.low == pytest.approx(low, abs=0.03 * width)
    assert found.high == pytest.approx(high, abs=0.03 * width)


def test_the_bootstrap_says_the_same_twice_and_knows_equal_values():
    assert bootstrap_interval(normal(8)) == bootstrap_interval(normal(8))
    same = bootstrap_interval([3.0, 3.0, 3.0])
    assert (same.low, same.high) == (3.0, 3.0)


@pytest.mark.parametrize(
    "differences",
    [
        [0.3, 0.1, 0.2],
        [0.3, -0.1, 0.2],
        [0.0, 0.0, 0.0],
        [0.5, 0.5, -0.5, 0.5, 0.5],
        [1.0],
        [-0.2, -0.4],
        np.random.default_rng(1).normal(0.4, 1, 9).tolist(),
        np.random.default_rng(2).normal(-1, 1, 7).tolist(),
    ],
)
def test_p_is_the_share_of_flips_counted_by_hand(differences):
    assert sign_flip(differences) == pytest.approx(flipped_by_hand(differences), abs=1e-12)


@pytest.mark.parametrize("count", [2, 3, 6, EXACT, EXACT + 8])
def test_no_p_is_below_the_least(count):
    assert sign_flip([1.0 + 0.1 * i for i in range(count)]) == pytest.approx(least_p(count))


@pytest.mark.parametrize(
    "differences", [[0.3, 0.1, 0.2], [1.0, -0.5, 0.1], [-4.0, -4.1, -3.9], [0.7, 0.1], [-3.0, 1.0]]
)
def test_p_of_students_test_is_that_of_its_distribution_in_closed_form(differences):
    """Two degrees of freedom: 1 - t / sqrt(2 + t²); one: 1 - 2 atan(t) / pi."""
    t = abs(statistics.fmean(differences)) / statistics.stdev(differences) * math.sqrt(len(differences))
    closed = 1 - t / math.sqrt(2 + t * t) if len(differences) == 3 else 1 - 2 / math.pi * math.atan(t)
    assert t_test(differences) == pytest.approx(closed, abs=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_students_test_and_interval_agree(seed):
    differences = np.random.default_rng(seed).normal(1.0, 1.0, 4).tolist()
    found = t_interval(differences)
    assert (t_test(differences) < LEVEL) == (found.low > 0 or found.high < 0)


def test_students_test_of_differences_without_spread():
    assert t_test([0.7]) == t_test([0.0, 0.0]) == 1.0
    assert t_test([0.5, 0.5, 0.5]) == 0.0


def test_both_tests_are_corrected_over_all_differences_each_by_itself():
    first, second = (
        paired({0: 1.0, 1: 2.0, 2: 3.0}, dict.fromkeys(range(3), 0.0)),
        paired({0: 5.0, 1: 5.1}, {0: 0.0, 1: 0.0}),
    )
    found = corrected([first, second])
    assert [one.adjusted for one in found] == holm([0.25, 0.5]) == [0.5, 0.5]
    assert [one.adjusted_t for one in found] == holm([first.t_p, second.t_p])
    assert found[1].adjusted_t == pytest.approx(2 * second.t_p)
    assert corrected([]) == []


def test_three_seeds_cannot_be_significant_and_six_can():
    assert least_p(3) == 0.25
    rows = [{seed: 40.0 + seed + gain for seed in range(count)} for count, gain in ((3, 9.0), (6, 9.0))]
    base = {seed: 40.0 + seed for seed in range(6)}
    three, six = (paired(row, base) for row in rows)
    assert (three.p, three.significant) == (0.25, False)
    assert (six.p, six.significant) == (2 / 64, True)


def test_differences_are_of_the_seeds_that_both_have():
    found = paired({0: 3.0, 1: 5.0, 7: 9.0}, {1: 4.0, 0: 1.0, 2: 100.0})
    assert found.seeds == (0, 1)
    assert found.sample.mean == 1.5
    assert found.sample.deviation == pytest.approx(math.sqrt(0.5))
    assert paired({0: 1.0}, {1: 1.0}) is None


def test_holm_steps_down():
    """0.01 · 4, then 0.02 · 3, then the larger of 0.03 · 2 and what came before, then 0.2 · 1."""
    assert holm([0.03, 0.01, 0.2, 0.02]) == pytest.approx([0.06, 0.04, 0.2, 0.06])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([0.25]) == [0.25]
    assert holm([]) == []


@pytest.mark.parametrize("rows", range(1, 12))
def test_the_fewest_seeds_for_a_test_are_those_whose_least_p_survives_the_correction(rows):
    fewest = seeds_for_test(rows)
    assert rows * least_p(fewest) <= 0.05 < rows * least_p(fewest - 1)


@pytest.mark.parametrize(("seeds", "share"), [(2, 0.5), (3, 1.0), (10, 1.0), (34, 0.5), (200, 0.2)])
def test_power_is_the_integral_over_the_spread_that_is_not_known(seeds, share):
    assert power(seeds, share, 1.0) == pytest.approx(power_by_integral(seeds, share, 1.0), abs=1e-6)


@pytest.mark.parametrize(("size", "seeds"), [(1.0, 10), (0.5, 34), (0.2, 199), (0.8, 15)])
def test_seeds_needed_are_those_of_printed_tables(size, seeds):
    """Of a two-sided paired t test at 5 % and 80 %, as Cohen's tables and G*Power have them."""
    assert seeds_needed(size, 1.0) == seeds_needed(-5 * size, 5.0) == seeds
    assert power(seeds, size, 1.0) >= 0.8 > power(seeds - 1, size, 1.0)


def test_no_spread_needs_two_seeds_and_a_huge_one_more_than_anybody_has():
    assert seeds_needed(0.5, 0.0) == 2
    assert seeds_needed(0.5, 5000.0) is None


def test_power_grows_with_the_seeds_however_clear_the_difference_is():
    """scipy's noncentral t has NaN among the far tails."""
    for deviation in (0.3, 0.19, 0.099, 0.01):
        grown = [power(seeds, 0.5, deviation) for seeds in range(2, 40)]
        assert all(later >= earlier - 1e-12 for earlier, later in itertools.pairwise(grown))
        assert grown[-1] == pytest.approx(1.0)
        assert seeds_needed(0.5, deviation) == 2 + next(i for i, value in enumerate(grown) if value >= 0.8)


def test_the_limits_of_a_standard_deviation_are_those_of_printed_tables():
    """Chi square of two degrees of freedom is exponential: its quantiles are −2 log(1 − share)."""
    low, high = deviation_limits(1.0, 3)
    assert low == pytest.approx(math.sqrt(2 / (-2 * math.log(0.025))))
    assert high == pytest.approx(math.sqrt(2 / (-2 * math.log(0.975))))


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [math.inf]])
def test_what_is_no_number_is_refused(values):
    with pytest.raises(ValueError, match="one finite number or more"):
        summarise(values)
