"""The peak of a process's memory."""

from functools import partial

import pytest
import torch

from detassign.bench.memory import can_measure, extra_bytes


def take_and_drop(count: int):
    """A call that fills a tensor beyond its result."""
    return lambda: torch.ones(count).sum().expand(1)


@pytest.mark.skipif(not can_measure(), reason="the peak of a process is read from Linux's /proc")
def test_extra_memory_is_what_a_call_takes_beyond_its_results():
    """A dropped tensor counts, a returned one does not."""
    assert 95e6 < extra_bytes(partial(take_and_drop, 25_000_000)) < 150e6
    assert extra_bytes(partial(partial, torch.ones, 25_000_000)) < 50e6
