"""The peak memory of a call beyond its arguments and its results, in a fresh process, and whence a peak counts (Linux)."""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

__all__ = ["can_measure", "extra_bytes", "start_over"]

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def can_measure() -> bool:
    return STATUS.exists() and RESET.exists()


def extra_bytes(prepare: Callable[[], Callable[[], Any]]) -> int:
    """The peak of the resident set while ``prepare()()`` runs, less what was there before and the results.

    ``prepare`` goes to another process, so it is a module's function or a partial of one. What it returns is called once;
    the tensors that this returns count as results.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_measure, torch.get_num_threads(), prepare).result()


def _measure(threads: int, prepare: Callable[[], Callable[[], Any]]) -> int:
    torch.set_num_threads(threads)
    run = prepare()
    run()  # what the first call alone takes, such as autograd's threads, is nobody's
    before = start_over()
    results = run()
    peak = 1024 * _kibibytes("VmHWM") - before
    held = [results] if isinstance(results, Tensor) else results
    return max(0, peak - sum(tensor.numel() * tensor.element_size() for tensor in held))


def start_over() -> int:
    """Bytes that this process holds, from which its peak counts anew; where the system does not forget a peak, that stays."""
    gc.collect()
    _give_back()
    if RESET.exists():
        RESET.write_text("5")  # forgets the peak so far
    return 1024 * _kibibytes("VmRSS")


def _give_back() -> None:
    """Hands freed memory that the C library keeps back to the system, since calls that reuse it would seem free."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
    if trim is not None:
        trim(0)


def _kibibytes(name: str) -> int:
    return next(int(line.split()[1]) for line in STATUS.read_text().splitlines() if line.startswith(name))
