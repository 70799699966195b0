"""Rows of the measurement: a family of ours beside one peer each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch

from ...evidence.words import in_one_line
from .conditions import Conditions, make_batch
from .families import OURS, make_side, measurable
from .measures import peak_growth, supervision_seconds, take_turns, waits_of

LEGEND = (
    "time, CPU time, memory: ours as a share of the peer's; CPU time is that of all threads, which other work on the machine "
    "changes little. MiB: what our training process grows by. supervision: share of our step in matching, losses and "
    "denoising. waits: how often a step of ours and of the peer's waits for a GPU (on a CPU, for a stand-in)."
)


@dataclass(frozen=True)
class Row:
    """One family beside one peer: median seconds of a step, peak memory, and what the training targets cost us.

    Attributes:
        cpu_seconds, peer_cpu_seconds: of all threads.
        memory, peer_memory: bytes a training process grows by, from before the model to its peak, imports left out.
        supervision: seconds of our step that go into matching, losses (forward and backward) and denoising queries.
        waits, peer_waits: how often a step waits for the GPU; on a CPU, for a stand-in (see `bench.stand_in`), None where
            that does not know an operator.
    """

    family: str
    peer: str
    seconds: float
    peer_seconds: float
    cpu_seconds: float
    peer_cpu_seconds: float
    memory: int
    peer_memory: int
    supervision: float
    waits: int | None
    peer_waits: int | None

    @property
    def ratio(self) -> float:
        return self.seconds / self.peer_seconds

    @property
    def cpu_ratio(self) -> float:
        return self.cpu_seconds / self.peer_cpu_seconds

    @property
    def memory_ratio(self) -> float:
        return self.memory / self.peer_memory

    @property
    def supervision_share(self) -> float:
        return self.supervision / self.seconds

    def to_dict(self) -> dict[str, Any]:
        derived = ("ratio", "cpu_ratio", "memory_ratio", "supervision_share")
        return {**asdict(self), **{name: getattr(self, name) for name in derived}}


def measure(names: Sequence[str], conditions: Conditions, say: Callable[[str], None]) -> Iterator[Row]:
    """Rows of the named families, one by one.

    Args:
        names: of families.
        conditions: of all rows.
        say: is told which peers are left out, and why.

    Raises:
        ValueError: for an unknown family.
    """
    for name, family in measurable(names, say).items():
        yield from _rows(name, list(family.sides(conditions.peer_precisions)), conditions, say)


def _rows(name: str, sides: Sequence[str], conditions: Conditions, say: Callable[[str], None]) -> Iterator[Row]:
    memory = {}
    for side in sides:
        try:
            memory[side] = peak_growth(partial(make_side, name, side), conditions)
        except Exception as error:  # some peers' heads cannot be trained in bfloat16; ours can
            if side == OURS or isinstance(error, BrokenProcessPool):  # which is no fault of theirs
                raise
            say(f"{name} beside {side} is left out, for it cannot be trained so: {in_one_line(error)}")
    sides = list(memory)
    if sides == [OURS]:
        return
    batch = make_batch(conditions)
    contenders = {side: make_side(name, side, conditions) for side in sides}
    times = take_turns({side: lambda c=c: c.step(batch) for side, c in contenders.items()}, conditions.steps)
    with torch.autocast(conditions.device.partition(":")[0], conditions.dtype, conditions.precision != "float32"):
        supervision = supervision_seconds(contenders[OURS].model, batch, conditions.steps)
    waits = {side: waits_of(contender, batch, conditions) for side, contender in contenders.items()}
    for peer in sides[1:]:
        (wall, cpu), (peer_wall, peer_cpu) = times[OURS], times[peer]
        bytes_held = (memory[OURS], memory[peer])
        yield Row(name, peer, wall, peer_wall, cpu, peer_cpu, *bytes_held, supervision, waits[OURS], waits[peer])
