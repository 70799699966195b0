"""The machine's ceilings and the floor that they set."""

import pytest

from detassign.bench import ceilings


def test_the_floor_is_the_slower_of_moving_and_computing():
    """Each is an amount over a rate."""
    found = ceilings.Ceilings(bytes_per_second=100.0, multiply_adds_per_second=10.0)
    assert found.floor(moved_bytes=100, multiply_adds=5) == 1.0
    assert found.floor(moved_bytes=100, multiply_adds=50) == 5.0


def test_ceilings_are_of_the_fastest_copy_read_and_written_and_of_the_fastest_product(monkeypatch):
    """With a clock that says two seconds, then one."""
    times = iter([2.0, 1.0, 2.0, 1.0])
    monkeypatch.setattr(ceilings, "clock_of", lambda device: lambda run: next(times))
    monkeypatch.setattr(ceilings, "BYTES", {"cpu": 64})
    monkeypatch.setattr(ceilings, "SIDE", {"cpu": 4})
    found = ceilings.measure_ceilings("cpu", repeats=2)
    assert found.bytes_per_second == pytest.approx(128)
    assert found.multiply_adds_per_second == pytest.approx(64)
