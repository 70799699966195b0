"""The numbers that a network is trained in: float32, or half as wide ones where the device multiplies them faster.

Narrow are convolutions, linear layers and attention, under torch's autocast. Weights, the optimizer, norms' statistics,
class logits of queries, references and boxes, assignment and losses stay float32; so do evaluation and prediction, unless
they are asked.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from torch import nn

from . import processes
from .device import device_of
from .values import DTYPES, PRECISIONS

WORTH = 1.5  # times the rate of float32: below it, what is cast costs what is gained
SIDE, TRIES = 768, 5  # of the matrices that rates are measured with, large enough for every unit; the best try counts


@dataclass(frozen=True)
class Precision:
    """What a run's network computes in, and why, as half a sentence, where that was not asked for by name."""

    dtype: torch.dtype
    reason: str = ""

    @property
    def name(self) -> str:
        """As a config writes it: float32, bfloat16 or float16."""
        return str(self.dtype).removeprefix("torch.")

    def __str__(self) -> str:
        return f"{self.name} ({self.reason})" if self.reason else self.name


class AutocastOptimWrapper(OptimWrapper):
    """mmengine's wrapper whose forward passes run under autocast, without scaled losses: bfloat16 has float32's range.

    Args:
        device_type: "cpu" or "cuda".
        dtype: of what autocast narrows.
        arguments: of OptimWrapper.
    """

    def __init__(self, device_type: str, dtype: torch.dtype, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.device_type, self.dtype = device_type, dtype

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        with super().optim_context(model), torch.autocast(self.device_type, self.dtype):
            yield


def wrapper_in(dtype: torch.dtype, device: torch.device) -> dict[str, Any]:
    """Type, and arguments of its own, of the optimizer's wrapper that trains in this precision on this device."""
    if dtype == torch.float32:
        return {"type": OptimWrapper}
    if dtype == torch.float16:
        return {"type": AmpOptimWrapper, "dtype": "float16"}
    return {"type": AutocastOptimWrapper, "device_type": device.type, "dtype": dtype}


def optim_wrapper(dtype: torch.dtype, device: torch.device, **arguments: Any) -> OptimWrapper:
    """That wrapper; arguments are those of mmengine's OptimWrapper."""
    wrapper = wrapper_in(dtype, device)
    return wrapper.pop("type")(**wrapper, **arguments)


def precision_of(config: Mapping[str, Any]) -> Precision:
    """What a config's "precision" comes to on its device, the same in all processes of a job.

    "amp" is the narrow type of the device: bfloat16 but for GPUs without it, which take float16. "auto" measures once
    whether that is worth it.

    Raises:
        ValueError: for an unknown name, and for one that the device cannot train in.
    """
    name, device = config.get("precision", "float32"), device_of(config)
    if name not in PRECISIONS:
        raise ValueError(f"precision: expected one of {', '.join(PRECISIONS)}, got {name!r}")
    if name == "float16" and device.type != "cuda":
        raise ValueError("precision: float16 trains on a GPU alone, since it needs scaled losses; take bfloat16 or amp")
    if name == "amp":
        return Precision(narrow(device))
    if name == "auto":
        return processes.once(lambda: fastest(device))
    return Precision(getattr(torch, name))


def may_mean(name: str, other: str) -> bool:
    """Whether a name that is left to the machine may come to the other one.

    >>> may_mean("auto", "float32"), may_mean("amp", "bfloat16"), may_mean("amp", "float32"), may_mean("float32", "float32")
    (True, True, False, False)
    """
    return name == "auto" or (name == "amp" and other != "float32")


def kept(asked: str, begun: str | None) -> Precision | None:
    """What goes on in the precision that it was begun in: under "auto" everything, under "amp" what is narrow.

    Args:
        asked: a config's "precision".
        begun: the name of the precision so far; None, or one that is left to the machine, where that is not known.

    Returns:
        None for what is asked by name, and where nothing was begun.
    """
    if begun not in DTYPES or not may_mean(asked, begun):
        return None
    return Precision(getattr(torch, begun), "auto: as it began" if asked == "auto" else "")


def narrow(device: torch.device) -> torch.dtype:
    """The narrow type that a device trains in."""
    native = device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if native else torch.float16


def half(device: torch.device) -> torch.dtype:
    """The narrow type that a device predicts in: float16, which is the finer of the two and needs no wide range without losses,
    but on a CPU, which has no fast arithmetic for it.
    """
    return torch.float16 if device.type == "cuda" else torch.bfloat16


@cache
def fastest(device: torch.device) -> Precision:
    """Float32, unless the device multiplies matrices of its narrow type WORTH times as fast; measured once, in a moment.

    What other processes do meanwhile slows both down, and the best of several tries counts.
    """
    dtype = narrow(device)
    times = rate(device, dtype) / rate(device, torch.float32)
    chosen = dtype if times >= WORTH else torch.float32
    name = str(dtype).removeprefix("torch.")
    return Precision(chosen, f"auto: {device.type} multiplies {name} matrices {times:.1f} times as fast as float32")


def rate(device: torch.device, dtype: torch.dtype) -> float:
    """Multiplications and additions per second of square matrices, the best of TRIES."""
    matrix = torch.ones(SIDE, SIDE, device=device, dtype=dtype)
    seconds = [_seconds(matrix) for _ in range(1 + TRIES)][1:]  # the first one picks its kernel
    return 2 * SIDE**3 / min(seconds)


def _seconds(matrix: torch.Tensor) -> float:
    begun = time.perf_counter()
    float((matrix @ matrix)[0, 0])  # waits for a GPU
    return time.perf_counter() - begun
