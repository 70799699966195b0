"""Rows of the measurement: a family, one side, one form."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import product
from typing import Any

from ...evidence.words import in_one_line
from ..step.conditions import Conditions, make_batch
from ..step.families import OURS, Family, make_side, measurable
from ..step.measures import take_turns
from .forms import FORMS, OURS_ALONE, Predict, compiled_afresh

LEGEND = (
    "images a second: by the clock, median; CPU s: seconds of all threads that an image takes, which other work on the machine "
    "changes little; time, CPU time: of an image of ours in the same form as a share of this one's. Weights are random: query "
    "detectors give all that they may, dense ones find next to nothing for NMS. Hugging Face's is without post-processing."
)


@dataclass(frozen=True)
class Row:
    """How one side predicts in one form.

    Attributes:
        family, side, form: names.
        batch: images of one.
        precision: float32 or bfloat16.
        seconds, cpu_seconds: that an image takes, by the clock and of all threads.
        ratio, cpu_ratio: of those, ours in the same form as a share; None where ours was not measured in it.
    """

    family: str
    side: str
    form: str
    batch: int
    precision: str
    seconds: float
    cpu_seconds: float
    ratio: float | None = None
    cpu_ratio: float | None = None

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "images_per_second": 1 / self.seconds}


def measure(
    names: Sequence[str], forms: Sequence[str], every: Sequence[Conditions], say: Callable[[str], None]
) -> Iterator[Row]:
    """Rows of the named families, one by one.

    Args:
        names: of families.
        forms: names of `FORMS`.
        every: the conditions to measure under, one after the other.
        say: is told what is left out, and why.

    Raises:
        ValueError: for an unknown family or form.
    """
    for form in forms:
        if form not in FORMS:
            raise ValueError(f"forms: expected some of {', '.join(FORMS)}, got {form!r}")
    for name, family in measurable(names, say).items():
        for conditions in every:
            yield from _rows(name, family, forms, conditions, say)


def _rows(
    name: str, family: Family, forms: Sequence[str], conditions: Conditions, say: Callable[[str], None]
) -> Iterator[Row]:
    with compiled_afresh():
        runs = _runs(name, family, forms, conditions, say)
        times = take_turns(runs, conditions.steps) if runs else {}
    single = {key: tuple(clock / conditions.batch for clock in clocks) for key, clocks in times.items()}
    for (side, form), clocks in single.items():
        row = Row(name, side, form, conditions.batch, conditions.precision, *clocks)
        yield _beside(row, single.get((OURS, form)))


def _runs(
    name: str, family: Family, forms: Sequence[str], conditions: Conditions, say: Callable[[str], None]
) -> dict[tuple[str, str], Callable[[], Any]]:
    """A prediction of each side in each form that can."""
    batch, runs = make_batch(conditions), {}
    for side, form in product(family.sides(), forms):
        if side != OURS and form in OURS_ALONE:
            continue
        try:
            predict = _ready(name, side, form, conditions)
            predict(batch)
        except Exception as error:  # compilers and exporters fail in many ways, and the others are worth measuring
            say(f"{name} by {side}, {form}, {conditions.precision}: left out ({in_one_line(error)})")
            continue
        runs[side, form] = partial(predict, batch)
    return runs


def _ready(name: str, side: str, form: str, conditions: Conditions) -> Predict:
    return FORMS[form](make_side(name, side, conditions), conditions)


def _beside(row: Row, ours: tuple[float, ...] | None) -> Row:
    """The row with what ours takes, as a share."""
    return row if ours is None else replace(row, ratio=ours[0] / row.seconds, cpu_ratio=ours[1] / row.cpu_seconds)
