"""A comparison as rows of texts, which terminals, Markdown, LaTeX and HTML share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..statistics import Difference, Interval, Sample
from ..words import three_digits
from .analysis import DECIDING, WORTH, Analysis, Entry
from .records import CLASSES, METRICS

__all__ = [
    "COLUMNS",
    "COST",
    "LEGEND",
    "LEGEND_OF_DIFFERENCES",
    "QUALITY",
    "Table",
    "baselines",
    "class_table",
    "differences_table",
    "document_of_difference",
    "document_rows",
    "results_table",
    "runs_table",
]


class Column(NamedTuple):
    """How a measure is told: its heading, the factor from a summary's unit, the digits behind the point."""

    heading: str
    factor: float
    digits: int


COLUMNS = {
    "AP": Column("AP", 100.0, 1),
    "AP50": Column("AP50", 100.0, 1),
    "AP75": Column("AP75", 100.0, 1),
    "APs": Column("APs", 100.0, 1),
    "APm": Column("APm", 100.0, 1),
    "APl": Column("APl", 100.0, 1),
    "positives_per_target": Column("pos", 1.0, 1),
    "effective_positives_per_target": Column("eff", 1.0, 1),
    "targets_without_positive": Column("none%", 100.0, 2),
    "seconds_per_step": Column("s/step", 1.0, 3),
    "assignment_share": Column("asg%", 100.0, 1),
    "peak_memory_bytes": Column("MiB", 1 / 2**20, 0),
}
"""By measure."""
QUALITY, COST = (
    METRICS,
    tuple(key for key in COLUMNS if key not in METRICS),
)  # columns of tables of 80 signs, or of a page
SPREAD = (DECIDING, "AP50", "AP75", "seconds_per_step")  # shown with their standard deviation
NOTHING = "-"

LEGEND = (
    "AP in percent. ±: standard deviation over seeds; pos: samples that push an object's class up, per object; eff: the same, "
    "counting weight as (sum w)² / sum w²; none%: objects that no sample learns; asg%: share of a step spent in matching, "
    "weighting and loss; MiB: peak memory."
)
LEGEND_OF_DIFFERENCES = (
    "diff: AP less the baseline's, in points, over the n seeds that both have; [ ]: its 95 % interval; p: exact two-sided "
    "sign-flip test; p Holm: corrected for all rows; n for 0.5: seeds that would see half a point with 80 % power at 5 %, from "
    "the spread of the differences, and in brackets from the 95 % limits of that spread."
)


class Table(NamedTuple):
    """Headings and rows of texts; the first column holds names."""

    headings: list[str]
    rows: list[list[str]]


def results_table(analysis: Analysis, measures: Sequence[str] = tuple(COLUMNS), interval: bool = False) -> Table:
    """A row for each assigner: means over seeds, with spreads where there are several.

    Args:
        analysis: to tell.
        measures: the columns.
        interval: with a column for the 95 % interval of AP, where some row has one.
    """
    headings = [COLUMNS[key].heading for key in measures]
    rows = [[_value(entry.samples.get(key), key) for key in measures] for entry in analysis.entries]
    if interval and any(entry.samples[DECIDING].interval for entry in analysis.entries if DECIDING in entry.samples):
        headings.insert(1, "AP, 95 %")
        for row, entry in zip(rows, analysis.entries, strict=True):
            row.insert(1, _interval_of(entry.samples.get(DECIDING)))
    named = [[entry.name, *row] for entry, row in zip(analysis.entries, rows, strict=True)]
    return Table([analysis.heading, *headings], named)


def differences_table(analysis: Analysis) -> Table:
    """A row for each assigner that has a baseline: by how much it differs in AP, and what that is worth."""
    headings = [analysis.heading, "diff", "95 %", "p", "p Holm", "n", "n for 0.5"]
    return Table(headings, [_difference(entry) for entry in analysis.compared])


def baselines(analysis: Analysis) -> str:
    """The assigners that others are compared with, in words."""
    return " and ".join(dict.fromkeys(entry.against.assigner for entry in analysis.compared if entry.against))


def class_table(analysis: Analysis) -> Table:
    """A row for each class: AP of every row of the report."""
    headings = ["class", *(entry.name for entry in analysis.entries)]
    rows = [
        [name, *(_percent(entry.classes.get(name)) for entry in analysis.entries)] for name in analysis.classes
    ]  # fmt: skip
    return Table(headings, rows)


def runs_table(analysis: Analysis) -> Table:
    """A row for each run: AP, and what its numbers hang on."""
    keys = list(dict.fromkeys(key for entry in analysis.entries for run in entry.runs for key in run.environment))
    rows = []
    for entry in analysis.entries:
        for run in entry.runs:
            ap = told(run.values[DECIDING], DECIDING) if DECIDING in run.values else NOTHING
            own = [run.environment.get(key, NOTHING) for key in keys]
            rows.append([entry.name, str(run.seed), ap, *own])
    return Table([analysis.heading, "seed", "AP", *keys], rows)


def document_rows(analysis: Analysis) -> list[dict[str, Any]]:
    """The rows with their full numbers, for JSON; AP as shares of 1."""
    return [
        {
            **entry.row._asdict(),
            "seeds": entry.seeds,
            **{key: _mean(entry.samples.get(key)) for key in COLUMNS},
            CLASSES: {name: sample.mean for name, sample in entry.classes.items()},
            "deviation": {key: sample.deviation for key, sample in entry.samples.items()},
            "interval": {key: _limits(sample.interval) for key, sample in entry.samples.items()},
            "bootstrap": {DECIDING: _limits(entry.bootstrap)},
            "difference": _against_baseline(entry),
        }
        for entry in analysis.entries
    ]


def told(value: float, measure: str) -> str:
    """A mean as people are told it."""
    _, factor, digits = COLUMNS[measure]
    return f"{factor * value:.{digits}f}"


def told_p(p: float) -> str:
    """A p with as many digits as it is worth.

    >>> told_p(0.25), told_p(0.03125), told_p(0.00003)
    ('0.25', '0.031', '<0.001')
    """
    return "<0.001" if p < 0.001 else f"{p:.2g}" if p >= 0.1 else f"{p:.3f}"


def told_points(value: float) -> str:
    """A difference in points of AP, with its sign.

    >>> told_points(0.0123), told_points(-0.002)
    ('+1.2', '-0.2')
    """
    return f"{100 * value:+.1f}"


def told_interval(interval: Interval | None, signed: bool = False) -> str:
    """Two shares of 1 as points in brackets."""
    if interval is None:
        return NOTHING
    sign = "+" if signed else ""
    return f"[{100 * interval.low:{sign}.1f}, {100 * interval.high:{sign}.1f}]"


def told_seeds(seeds: int | None) -> str:
    """A number of seeds, which may be more than anybody has."""
    return "over 1e6" if seeds is None else str(seeds) if seeds < 10_000 else three_digits(seeds)


def _difference(entry: Entry) -> list[str]:
    found, need = entry.differences[DECIDING], entry.need()
    seeds = f"{told_seeds(need.seeds)} ({told_seeds(need.least)}-{told_seeds(need.most)})" if need else NOTHING
    adjusted = NOTHING if found.adjusted is None else told_p(found.adjusted)
    spread = told_interval(found.sample.interval, signed=True)
    return [
        entry.name,
        told_points(found.sample.mean),
        spread,
        told_p(found.p),
        adjusted,
        str(found.sample.count),
        seeds,
    ]


def _value(sample: Sample | None, measure: str) -> str:
    if sample is None:
        return NOTHING
    spread = sample.deviation if measure in SPREAD else None
    return told(sample.mean, measure) + (f" ± {told(spread, measure)}" if spread is not None else "")


def _interval_of(sample: Sample | None) -> str:
    return told_interval(sample.interval) if sample else NOTHING


def _percent(sample: Sample | None) -> str:
    return _value(sample, DECIDING)


def _mean(sample: Sample | None) -> float | None:
    return sample.mean if sample else None


def _limits(interval: Interval | None) -> dict[str, Any] | None:
    return None if interval is None else {"low": interval.low, "high": interval.high, "method": interval.method}


def _against_baseline(entry: Entry) -> dict[str, Any] | None:
    if entry.against is None:
        return None
    need = entry.need()
    return {
        "baseline": entry.against._asdict(),
        "worth": WORTH,
        "seeds_needed": None if need is None else {"seeds": need.seeds, "least": need.least, "most": need.most},
        **{key: document_of_difference(found, key == DECIDING) for key, found in entry.differences.items()},
        CLASSES: {name: document_of_difference(found, False) for name, found in entry.class_differences.items()},
    }


def document_of_difference(difference: Difference, tested: bool) -> dict[str, Any]:
    """A difference with its full numbers, for JSON."""
    test = {"p": difference.p, "least_p": difference.least_p, "t_p": difference.t_p} if tested else {}
    adjusted = {"p_holm": difference.adjusted, "t_p_holm": difference.adjusted_t}
    return {
        "mean": difference.sample.mean,
        "deviation": difference.sample.deviation,
        "interval": _limits(difference.sample.interval),
        "seeds": list(difference.seeds),
        **test,
        **{name: p for name, p in adjusted.items() if p is not None},
    }
