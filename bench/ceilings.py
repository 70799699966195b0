"""What a machine can do at most, measured: bytes per second to and from memory, and multiply-adds per second."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .clocks import clock_of

__all__ = ["Ceilings", "measure_ceilings"]

BYTES = {"cpu": 2**28, "cuda": 2**30}  # of a copy: well beyond the last cache
SIDE = {"cpu": 1536, "cuda": 8192}  # of the square matrices whose product finds the arithmetic ceiling


@dataclass(frozen=True)
class Ceilings:
    """Bytes per second of a copy, read and written together, and float32 multiply-adds per second."""

    bytes_per_second: float
    multiply_adds_per_second: float

    def floor(self, moved_bytes: int, multiply_adds: int) -> float:
        """The seconds that the slower of moving and computing would take alone."""
        return max(moved_bytes / self.bytes_per_second, multiply_adds / self.multiply_adds_per_second)


def measure_ceilings(device: str = "cpu", repeats: int = 10) -> Ceilings:
    """The best of some runs each, on "cpu" with as many threads as torch uses, or "cuda"; takes a second or two."""
    clock, size, side = clock_of(device), BYTES[device], SIDE[device]
    source, matrix = torch.zeros(size, dtype=torch.uint8, device=device), torch.rand(side, side, device=device)
    target, product = torch.empty_like(source), torch.empty_like(matrix)
    copy = min(clock(lambda: target.copy_(source)) for _ in range(repeats))
    multiply = min(clock(lambda: torch.mm(matrix, matrix, out=product)) for _ in range(repeats))
    return Ceilings(2 * size / copy, side**3 / multiply)
