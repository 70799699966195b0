"""Which of the optional parts of `Predictions` must be there."""

from __future__ import annotations

from typing import Any, TypeVar

Value = TypeVar("Value")


def needs_of(*parts: Any) -> frozenset[str]:
    """What any of the parts needs, as their `needs` say.

    >>> needs_of("a part that says nothing of it")
    frozenset()
    """
    return frozenset().union(*(getattr(part, "needs", ()) for part in parts))


def required(name: str, value: Value | None) -> Value:
    """An optional part that must be there.

    Raises:
        ValueError: when it is None.

    >>> required("strides", None)
    Traceback (most recent call last):
    ...
    ValueError: strides: needed here, got None
    """
    if value is None:
        raise ValueError(f"{name}: needed here, got None")
    return value
