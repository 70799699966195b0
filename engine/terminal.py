"""The terminal as everything of ours writes to it: names of classes, files and folders stay what they are."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["take_all_letters", "terminal"]


def terminal(**options: Any) -> Console:
    """rich's console, for which square brackets are no markup and a word between colons no emoji.

    options: of `rich.console.Console`.
    """
    from rich.console import Console

    return Console(markup=False, emoji=False, highlight=False, **options)


def take_all_letters() -> None:
    """Have standard output and error write letters that their encoding lacks as codes, where they would raise."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
