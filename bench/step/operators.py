"""Where a training step's time goes, by operator."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from torch.profiler import ProfilerActivity, profile

from .conditions import Conditions, make_batch
from .contender import Contender


@dataclass(frozen=True)
class OperatorTime:
    """An operator's own time in a step, without that of the operators it calls; on a GPU, the GPU's.

    Attributes:
        operator: as torch names it.
        seconds: of a step.
        calls: in a step.
        share: of the own times of all operators.
    """

    operator: str
    seconds: float
    calls: float
    share: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def operator_times(contender: Contender, conditions: Conditions) -> list[OperatorTime]:
    """All operators of a training step that take any time, those that take most first.

    A step that is not counted comes first; means of `conditions.steps` after it.
    """
    batch, on_gpu = make_batch(conditions), conditions.device.startswith("cuda")
    contender.step(batch)
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities, acc_events=True) as profiler:
        for _ in range(conditions.steps):
            contender.step(batch)
    own = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    found = {event.key: (getattr(event, own), event.count) for event in profiler.key_averages()}
    whole = sum(microseconds for microseconds, _ in found.values())
    times = [
        OperatorTime(name, microseconds / 1e6 / conditions.steps, calls / conditions.steps, microseconds / whole)
        for name, (microseconds, calls) in found.items()
        if microseconds > 0
    ]
    return sorted(times, key=lambda each: -each.seconds)
