"""Notes: what a user should know of what was done, and need not act on."""

from __future__ import annotations

import warnings

from . import processes


class Note(UserWarning):
    """Shown as a sentence on standard error; `calm` lets it through."""

    word = "note"


def note(sentence: str) -> None:
    """Tell the user something; of several processes the first one does."""
    if processes.is_first():
        warnings.warn(sentence, Note, stacklevel=2)
