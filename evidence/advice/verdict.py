"""What a probe of several assigners says: which to take, how sure that is, and where there is no difference to be seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..report.analysis import DECIDING, Analysis, Entry, analyse
from ..words import many

LEAST_AP = 0.02  # of the best, or nothing has been learnt


def verdict(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Sentences about the runs of one detector on one data set.

    Raises:
        ValueError: for what are no records, and where no run has an AP.
    """
    measured = [entry for entry in analyse(records, {}).entries if DECIDING in entry.samples]
    if not measured:
        raise ValueError("probe: no run has an AP to go by; give it more --minutes")
    leader = max(measured, key=lambda entry: entry.samples[DECIDING].mean)
    beside = analyse(records, {}, leader.row.assigner)
    others = [entry for entry in beside.entries if entry.row != leader.row and DECIDING in entry.samples]
    sample = leader.samples[DECIDING]
    if sample.mean < LEAST_AP:
        return [f"Nothing has been learnt yet ({100 * sample.mean:.1f} AP at best): give the probe more --minutes."]
    first = f"Highest: {leader.row.assigner}, {100 * sample.mean:.1f} AP in the mean of {many(sample.count, 'seed')}."
    if sample.count == 1 or not others:
        return [
            first,
            "One seed cannot tell a difference from chance: give the probe more --minutes before you rely on it.",
        ]
    alike = [entry for entry in others if not _is_behind(entry)]
    return [first, *map(_compared, others), _advice(leader, alike), _caution(beside)]


def _is_behind(entry: Entry) -> bool:
    """Whether the whole interval of the difference lies below 0."""
    difference = entry.differences.get(DECIDING)
    return bool(difference and difference.sample.interval and difference.sample.interval.high < 0)


def _compared(entry: Entry) -> str:
    difference = entry.differences.get(DECIDING)
    if difference is None or difference.sample.interval is None:
        return f"{entry.row.assigner}: too few common seeds to compare."
    interval = difference.sample.interval
    bounds = (
        f"{100 * difference.sample.mean:+.1f} AP, 95 % from {100 * interval.low:+.1f} to {100 * interval.high:+.1f}"
    )
    return f"{entry.row.assigner}: {bounds}{'' if _is_behind(entry) else ', no difference to be seen'}."


def _advice(leader: Entry, alike: Sequence[Entry]) -> str:
    if not alike:
        return f"Take {leader.row.assigner}."
    choice = min((leader, *alike), key=_seconds)
    names = ", ".join(entry.row.assigner for entry in (leader, *alike))
    return f"Between {names} this probe sees no difference: take {choice.row.assigner}, the quickest of them to train."


def _seconds(entry: Entry) -> float:
    return entry.samples["seconds_per_step"].mean if "seconds_per_step" in entry.samples else float("inf")


def _caution(analysis: Analysis) -> str:
    steps = max((run.values.get("steps", 0.0) for entry in analysis.entries for run in entry.runs), default=0.0)
    after = f" after {steps:.0f} steps" if steps else ""
    return f"All this is{after} of training; assigners that start slowly may overtake others later."
