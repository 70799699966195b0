"""Locks on files, held by processes: one that dies, however it does, holds none any more."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...engine.files import naming


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Hold the lock of a file, which is made if it is not there; gives False where another process holds it.

    Processes that this one starts do not hold it.

    Raises:
        OSError: where the file system has no locks.
    """
    with path.open("a") as file:
        try:
            with naming(path):
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):  # POSIX allows either
            yield False
            return
        yield True


def is_locked(path: Path) -> bool:
    """Whether another process holds the lock of a file."""
    if not path.exists():
        return False
    with locked(path) as mine:
        return not mine
