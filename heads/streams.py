"""Random numbers of a part's own: what an assigner adds to a head moves the initial weights of nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Streams:
    """Streams of random numbers by name, all from one number that is drawn when this is made."""

    def __init__(self) -> None:
        self.seed = int(torch.randint(2**62, (), device="cpu"))

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Inside, the CPU's random numbers are those of the name; outside none has been drawn."""
        digest = hashlib.sha256(f"{self.seed} {name}".encode()).digest()
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(int.from_bytes(digest[:8], "little"))
            yield
