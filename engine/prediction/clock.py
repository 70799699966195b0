"""Where the time of a prediction goes."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class Clock:
    """Seconds by the part of the work that took them; threads may share one, so parts may add up to more than passed."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._started = time.perf_counter()
        self._lock = threading.Lock()

    @property
    def passed(self) -> float:
        """Seconds since it was made."""
        return time.perf_counter() - self._started

    def words(self, done: int, what: str) -> str:
        """How fast it went: so many a second, and how long each part of the work took for one."""
        parts = ", ".join(f"{part} {seconds / done * 1000:.3g} ms" for part, seconds in self.seconds.items())
        return f"{done / self.passed:.3g} {what}s a second; {'an' if what == 'image' else 'a'} {what}: {parts}"

    @contextmanager
    def during(self, part: str) -> Iterator[None]:
        """Counts what happens inside for a part."""
        started = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self.seconds[part] += time.perf_counter() - started
