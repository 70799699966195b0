"""Which of the optional parts of `Predictions` must be there."""

from __future__ import annotations

from typing import Any


def needs_of(*parts: Any) -> frozenset[str]:
    """What any of the parts needs, as their `needs` say.

    >>> needs_of("a part that says nothing of it")
    frozenset()
    """
    return frozenset().union(*(getattr(part, "needs", ()) for part in parts))
