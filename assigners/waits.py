"""How often a training step waits for the device: where the host must know what was computed there.

Whoever asks for a value, or for how many entries of a mask are true, waits until the device has done all that it was given,
and the device then waits for more. A matching must know the number of its pairs.
"""

from __future__ import annotations

from typing import Any

USUAL_WAITS = 3
"""Of an assigner in a step: for candidates, for pairs, and for what a weighting sets apart."""


def waits_of(matching: Any) -> int:
    """At most how often a matching waits: as its `waits` says, or as usual.

    >>> waits_of("a matching that says nothing of it")
    3
    """
    return getattr(matching, "waits", USUAL_WAITS)
