"""Which code this user has agreed to run on this machine: remembered by its content, not by where it lies."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path


def state_folder() -> Path:
    """`$DETASSIGN_STATE`, `$XDG_STATE_HOME/detassign`, or ~/.local/state/detassign."""
    own = os.environ.get("DETASSIGN_STATE")
    usual = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "detassign"
    return Path(own).expanduser() if own else usual


def remember(digest: str, name: str) -> None:
    """Trust code from now on. Where nothing can be written, it is asked for again."""
    folder = state_folder() / "trusted"
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / digest).write_text(f"{name}\n", encoding="utf-8")


def is_trusted(digest: str) -> bool:
    """Whether the code was remembered, in a place where nobody else could have done so."""
    folder = state_folder() / "trusted"
    return all(map(_is_own, (folder, folder / digest)))


def _is_own(path: Path) -> bool:
    """Whether a file or folder belongs to this user and nobody else may write to it."""
    try:
        found = path.lstat()
    except OSError:
        return False
    if not hasattr(os, "getuid"):  # elsewhere a user's own folder is closed to others
        return not stat.S_ISLNK(found.st_mode)
    others_write = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return not stat.S_ISLNK(found.st_mode) and found.st_uid == os.getuid() and not others_write
