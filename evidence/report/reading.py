"""What a comparison says, in plain words: what is significant and what is not, what it cost, how many seeds it would take."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from ..statistics import BOOTSTRAP_FROM, LEVEL, MOST_SEEDS, RESAMPLES, least_p, seeds_for_test
from ..words import many, three_digits
from .analysis import DECIDING, WORTH, Analysis, Entry, Need
from .records import Row
from .tables import baselines, told_interval, told_p, told_seeds

__all__ = ["Section", "method", "reading"]

PERCENT = f"{100 * LEVEL:.0f} %"
SHOWN = 6  # rows that are named one by one
INTERVALS = {
    "t": f"Intervals are Student's t, 95 %. A bootstrap of fewer than {BOOTSTRAP_FROM} seeds is too narrow: it stays within "
    "what was seen, which with three seeds misses the mean a quarter of the time. results.json has both for AP.",
    "BCa bootstrap": f"Intervals of {BOOTSTRAP_FROM} seeds and more are BCa bootstraps, 95 %, of {RESAMPLES} resamples.",
}
"""By the method that found one."""
TESTS = (
    "p is that of the two-sided sign-flip test over all 2^n flips of the n differences: without an effect each is as likely "
    "as its opposite. With n seeds it cannot be below 2^(1−n). Holm's correction is over all rows, for AP alone; other "
    "measures, sizes and classes are described and not tested.",
    "Seeds needed are those of a two-sided paired t test with 80 % power at 5 %, by the noncentral t distribution.",
)


class Section(NamedTuple):
    """A heading and its sentences."""

    title: str
    sentences: list[str]


def reading(analysis: Analysis) -> list[Section]:
    """The report in words; sections that would be empty are left out."""
    sections = [
        Section("What was compared", [*_compared(analysis)]),
        Section("What is significant", [*_significant(analysis)]),
        Section("What is not", [*_not_significant(analysis)]),
        Section("What it cost", [*_costs(analysis)]),
        Section("How many seeds it would take", [*_seeds(analysis)]),
        Section("What is not like for like", [*_unlike(analysis)]),
    ]
    return [section for section in sections if section.sentences]


def _compared(analysis: Analysis) -> Iterator[str]:
    seeds = sorted({seed for entry in analysis.entries for seed in entry.seeds})
    runs = sum(len(entry.runs) for entry in analysis.entries)
    yield f"{many(len(analysis.entries), 'row')}, {many(runs, 'run')}, {many(len(seeds), 'seed')} ({_listed(seeds)})."
    if len(seeds) == 1:
        yield "One seed is a demonstration, not a ranking: what another seed would give is not known."
    for (detector, data), entries in analysis.groups.items():
        measured = [entry for entry in entries if DECIDING in entry.samples]
        if len(measured) < 2:
            continue
        best = max(measured, key=lambda entry: entry.samples[DECIDING].mean)
        where = f" with {detector} on {data}" if len(analysis.groups) > 1 else ""
        yield f"The highest mean AP{where} is that of {best.row.assigner}, {_ap(best)}."


def _significant(analysis: Analysis) -> Iterator[str]:
    if not analysis.compared:
        return
    found = [entry for entry in analysis.compared if entry.differences[DECIDING].significant]
    yield from _differences(analysis, found)
    if not found:
        yield f"No difference in AP to {baselines(analysis)}, at {PERCENT} after Holm's correction for {_rows(analysis)}."


def _not_significant(analysis: Analysis) -> Iterator[str]:
    left = [entry for entry in analysis.compared if not entry.differences[DECIDING].significant]
    yield from _differences(analysis, left)
    few = sorted({entry.differences[DECIDING].sample.count for entry in left})
    rows = len(analysis.compared)
    for count in few:
        if rows * least_p(count) <= LEVEL:
            continue
        bound = f"no p below {told_p(least_p(count))} is possible"
        yield f"With {many(count, 'seed')} {bound} in the exact test, whatever is measured: {_enough(rows)}."
    if beyond := [entry for entry in left if _leaves_out_zero(entry)]:
        yield f"Taken one by one, the interval leaves out 0 for {_listed([entry.name for entry in beyond])}. {_by_t(beyond)}"
    if any(entry.differences[DECIDING].sample.interval for entry in left):
        yield "Not significant does not mean equal: every difference in the interval is still possible."


def _differences(analysis: Analysis, entries: Sequence[Entry]) -> Iterator[str]:
    """All differences, or the largest and how many there are besides."""
    for entry in _largest(entries, lambda entry: abs(entry.differences[DECIDING].sample.mean)):
        yield f"{_difference(analysis, entry)}."
    if len(entries) > SHOWN:
        yield f"So {_are(len(entries) - SHOWN)} more, with smaller differences, in the table."


def _costs(analysis: Analysis) -> Iterator[str]:
    bases = {entry.row: entry for entry in analysis.entries}
    for entry in _largest(analysis.compared, lambda entry: _times(entry, bases)):
        base = bases[entry.against]
        ratios = [*_ratio(entry, base, "seconds_per_step", "time of a step", "s", 1.0)]
        ratios += _ratio(entry, base, "peak_memory_bytes", "peak memory", "MiB", 2**-20)
        if ratios:
            yield f"{entry.name} takes {' and '.join(ratios)} of {base.name}."
    if len(analysis.compared) > SHOWN:
        yield f"{len(analysis.compared) - SHOWN} more are nearer to their baseline in time."


def _seeds(analysis: Analysis) -> Iterator[str]:
    if not analysis.compared:
        return
    needs = [(entry, need) for entry in analysis.compared if (need := entry.need())]
    if len(needs) > SHOWN:
        seeds = sorted(MOST_SEEDS if need.seeds is None else need.seeds for _, need in needs)
        yield (
            f"From {told_seeds(seeds[0])} to {told_seeds(seeds[-1])}, half of the {len(seeds)} differences at most "
            f"{told_seeds(seeds[len(seeds) // 2])}; each with its limits is in the table."
        )
    for entry, need in needs if len(needs) <= SHOWN else ():
        yield f"{told_seeds(need.seeds)} for {entry.name} against {analysis.named(entry.against)}: {_known(entry, need)}."
    if needs:
        yield f"That is to see a true difference of {100 * WORTH:g} AP with 80 % power at {PERCENT}, in a paired t test."
    else:
        yield "Two seeds at least would show how much differences vary, and so how many it would take."
    yield f"The exact test needs {seeds_for_test(len(analysis.compared))} at least for {_rows(analysis)}."


def _unlike(analysis: Analysis) -> Iterator[str]:
    for (detector, data), entries in analysis.groups.items():
        where = f" with {detector} on {data}" if len(analysis.groups) > 1 else ""
        if len({tuple(entry.seeds) for entry in entries}) > 1:
            told = "; ".join(f"{entry.row.assigner}: {_listed(entry.seeds)}" for entry in entries[:SHOWN])
            yield f"Seeds{where} ({told}): means are of other seeds, differences of those that both have."
        for key in dict.fromkeys(key for entry in entries for run in entry.runs for key in run.environment):
            rows: dict[str, list[str]] = {}
            for entry in entries:
                for run in entry.runs:
                    rows.setdefault(run.environment.get(key, "not told"), []).append(entry.row.assigner)
            if len(rows) > 1:
                told = [f"{value} ({_listed([*dict.fromkeys(names)])})" for value, names in rows.items()]
                more = f"; and {len(told) - SHOWN} more" if len(told) > SHOWN else ""
                yield f"{key}{where}: {'; '.join(told[:SHOWN])}{more}."


def method(analysis: Analysis) -> list[str]:
    """How the numbers were found."""
    methods = {
        sample.interval.method for entry in analysis.entries for sample in entry.samples.values() if sample.interval
    }
    return [
        "Runs of one seed saw the same data in the same order, so differences are taken seed by seed.",
        *(INTERVALS[name] for name in sorted(methods)),
        *TESTS,
    ]


def _difference(analysis: Analysis, entry: Entry) -> str:
    found = entry.differences[DECIDING]
    more = "more" if found.sample.mean >= 0 else "less"
    spread = f", 95 % {told_interval(found.sample.interval, signed=True)}" if found.sample.interval else ""
    corrected = f", after Holm's correction {told_p(found.adjusted)}" if found.adjusted is not None else ""
    tested = f"; p {told_p(found.p)}{corrected}" if found.sample.count > 1 else ""
    return (
        f"{entry.name} has {abs(100 * found.sample.mean):.1f} AP {more} than {analysis.named(entry.against)}{spread}, over "
        f"{many(found.sample.count, 'seed')}{tested}"
    )


def _ratio(entry: Entry, base: Entry, measure: str, what: str, unit: str, factor: float) -> Iterator[str]:
    own, theirs = entry.samples.get(measure), base.samples.get(measure)
    if own and theirs and theirs.mean > 0:
        values = f"{three_digits(factor * own.mean)} {unit} against {three_digits(factor * theirs.mean)} {unit}"
        yield f"{own.mean / theirs.mean:.2f} of the {what} ({values})"


def _by_t(entries: Sequence[Entry]) -> str:
    """What is left of intervals that leave out 0 when the t test is corrected for all rows, as the exact one is."""
    found = [(entry.name, entry.differences[DECIDING].adjusted_t) for entry in entries]
    left = [f"{name} (p {told_p(p)})" for name, p in found if p is not None and p <= LEVEL]
    return (
        "If differences between seeds are normally distributed, which so few cannot show and the exact test does not assume, "
        f"Holm's correction of their t tests leaves {_listed(left) if left else 'none'}."
    )


def _leaves_out_zero(entry: Entry) -> bool:
    found = entry.differences[DECIDING].sample.interval
    return found is not None and (found.low > 0 or found.high < 0)


def _known(entry: Entry, need: Need) -> str:
    sample = entry.differences[DECIDING].sample
    spread = f"differences vary by {100 * (sample.deviation or 0.0):.2g} AP (standard deviation)"
    limits = f"{told_seeds(need.least)} to {told_seeds(need.most)}"
    return f"{spread}, which {many(sample.count, 'seed')} know only so well that it may be {limits}"


def _enough(rows: int) -> str:
    return f"{seeds_for_test(rows)} are the fewest with which one of {many(rows, 'difference')} can be significant"


def _rows(analysis: Analysis) -> str:
    return many(len(analysis.compared), "difference")


def _ap(entry: Entry) -> str:
    sample = entry.samples[DECIDING]
    spread = f" (95 % {told_interval(sample.interval)})" if sample.interval else ""
    return f"{100 * sample.mean:.1f}{spread}"


def _listed(names: Sequence[object]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(map(str, names[:SHOWN])) + more


def _largest(entries: Sequence[Entry], size: Callable[[Entry], float]) -> list[Entry]:
    """Those that are named one by one, in their order: all, or as many as the largest `SHOWN`."""
    kept = sorted(range(len(entries)), key=lambda index: size(entries[index]), reverse=True)[:SHOWN]
    return [entries[index] for index in sorted(kept)]


def _times(entry: Entry, bases: Mapping[Row, Entry]) -> float:
    """How far a row's time of a step is from its baseline's, in either direction."""
    own, theirs = (one.samples.get("seconds_per_step") for one in (entry, bases[entry.against]))
    return abs(math.log(own.mean / theirs.mean)) if own and theirs and min(own.mean, theirs.mean) > 0 else 0.0


def _are(count: int) -> str:
    return f"{'is' if count == 1 else 'are'} {count}"
