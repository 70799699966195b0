"""Two forms of the same work, measured in turn in one process."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .ceilings import Ceilings
from .clocks import Clock
from .memory import can_measure, extra_bytes

FORWARD, BOTH = "forward", "forward + backward"

Run = Callable[[], Any]


class Needs(NamedTuple):
    """What some work has to move and compute at least."""

    moved_bytes: int
    multiply_adds: int


@dataclass(frozen=True)
class Comparison:
    """What is to be measured: ``ours`` and ``theirs`` make their arguments and return the call to time.

    ``needs`` says what the work takes at least, where that is known. With ``memory`` peaks are taken too; both forms
    then go to another process, and their calls return tensors.
    """

    op: str
    case: str
    dtype: str
    pass_: str
    peer: str
    ours: Callable[[], Run]
    theirs: Callable[[], Run]
    needs: Callable[[], Needs] | None = None
    memory: bool = False


@dataclass(frozen=True)
class Row:
    """One measurement: median seconds of the op and of the peer, and how many times faster the op is.

    ``floor_seconds`` is what this machine takes at least for what has to be moved and computed. The extra bytes are the
    peak memory beyond arguments and results. They are None where they were not measured.
    """

    op: str
    case: str
    dtype: str
    pass_: str
    peer: str
    seconds: float
    peer_seconds: float
    floor_seconds: float | None = None
    extra_bytes: int | None = None
    peer_extra_bytes: int | None = None

    @property
    def ratio(self) -> float:
        return self.peer_seconds / self.seconds

    @property
    def share_of_floor(self) -> float | None:
        """The floor's part of the time; more than one where caches held what the floor reads from memory."""
        return None if self.floor_seconds is None else self.floor_seconds / self.seconds

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "ratio": self.ratio, "share_of_floor": self.share_of_floor}


def measure(comparisons: Iterable[Comparison], ceilings: Ceilings, repeats: int, clock: Clock) -> Iterator[Row]:
    """A row for each comparison, as soon as it is there; memory only where the system tells peaks."""
    for one in comparisons:
        times = medians(_seeded(one.ours), _seeded(one.theirs), repeats, clock)
        floor = ceilings.floor(*_seeded(one.needs)) if one.needs else None
        extra = [extra_bytes(form) for form in (one.ours, one.theirs)] if one.memory and can_measure() else []
        yield Row(one.op, one.case, one.dtype, one.pass_, one.peer, *times, floor, *extra)


def _seeded(make: Callable[[], Any]) -> Any:
    """Both forms and what they need are of the same random arguments."""
    torch.manual_seed(0)
    return make()


def medians(ours: Run, theirs: Run, repeats: int, clock: Clock) -> tuple[float, float]:
    """Median seconds of both, measured in turn so that both meet the same machine; the first run of each warms up."""
    times = [(clock(ours), clock(theirs)) for _ in range(repeats + 1)][1:]
    first, second = zip(*times, strict=True)
    return statistics.median(first), statistics.median(second)


def one_pass(pass_: str, form: Callable[..., Tensor], *arguments: Tensor) -> Run:
    """A call that returns the form's result, and after a backward the gradients of the result's sum as well."""
    if pass_ == FORWARD:
        return lambda: form(*arguments)
    leaves = [tensor.detach().requires_grad_() for tensor in arguments]

    def both() -> tuple[Tensor, ...]:
        output = form(*leaves)
        return output, *torch.autograd.grad(output, leaves, output.new_ones(()).expand_as(output))

    return both
