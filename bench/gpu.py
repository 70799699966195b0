"""What measuring on a GPU takes: a clock that is the GPU's, and the GPU's name."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

SCRATCH_BYTES = 2**30  # many times any GPU's cache


def seconds(run: Callable[[], Any]) -> float:
    """Seconds from the first to the last of what `run` puts on the GPU, which starts with cold caches.

    The GPU first clears a large buffer. Meanwhile the host runs ahead, so that its own time does not count unless `run`
    waits for the GPU.
    """
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    _scratch().zero_()
    start.record()
    run()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1000


def hardware() -> dict[str, Any]:
    """The GPU, and the versions that its kernels were built with."""
    properties = torch.cuda.get_device_properties(torch.cuda.current_device())
    return {
        "device": properties.name,
        "memory_bytes": properties.total_memory,
        "multiprocessors": properties.multi_processor_count,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
    }


@cache
def _scratch() -> Tensor:
    return torch.empty(SCRATCH_BYTES, dtype=torch.uint8, device="cuda")
