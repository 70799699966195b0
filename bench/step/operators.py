"""Where a training step's time goes, by operator."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from .conditions import Conditions, make_batch
from .contender import Contender
from .measures import WARM_UP


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

    Steps that are not counted come first; means of `conditions.steps` after them.
    """
    batch, on_gpu = make_batch(conditions), conditions.device.startswith("cuda")
    for _ in range(WARM_UP):
        contender.step(batch)
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities, acc_events=True) as profiler:
        for _ in range(conditions.steps):
            contender.step(batch)
    return times_of(profiler.key_averages(), on_gpu, conditions.steps)


def times_of(events: Iterable[Any], on_gpu: bool, steps: int) -> list[OperatorTime]:
    """Operators that take any time in a step, those that take most first.

    Args:
        events: means that torch's profiler gives. Those that ran on a GPU are kernels, and left out: each kernel's time is in
            that of the operator that started it too.
        on_gpu: whether the GPU's time is asked for.
        steps: that the events are of.
    """
    own = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    operators = [event for event in events if event.device_type == DeviceType.CPU]
    whole = sum(getattr(event, own) for event in operators)
    times = [
        OperatorTime(event.key, taken / 1e6 / steps, event.count / steps, taken / whole)
        for event in operators
        if (taken := getattr(event, own)) > 0
    ]
    return sorted(times, key=lambda each: -each.seconds)
