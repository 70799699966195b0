"""How a part shows itself: its class and what its constructor takes, read back from the attributes of the same names.

What was changed after construction, learned parameters included, is shown as it is now.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from inspect import signature
from reprlib import recursive_repr
from textwrap import indent
from types import FunctionType
from typing import Any

from torch import Tensor, nn

WIDTH = 100  # of a line, before what encloses it is indented
UNDESCRIBED = (object.__repr__, nn.Module.__repr__)


def describe(self: Any) -> str:
    """`Class(name=value, …)`, one argument per line where a line would be long: a `__repr__`.

    >>> class Ruler:
    ...     def __init__(self, length=30.0, unit="cm"):
    ...         self.length, self.unit = length, unit
    >>> describe(Ruler(unit="inch"))
    "Ruler(length=30.0, unit='inch')"
    """
    return _described(self)


@recursive_repr("…")
def _described(part: Any) -> str:
    return _enclosed(f"{type(part).__name__}(", [f"{name}={shown(value)}" for name, value in _kept(part)], ")")


def constants(self: nn.Module) -> str:
    """What `describe` would show of a module without the modules inside it: an `extra_repr`."""
    own = [(name, value) for name, value in _kept(self) if not isinstance(value, nn.Module)]
    return ", ".join(f"{name}={shown(value)}" for name, value in own)


def self_describing(entry: Any) -> Any:
    """A class that says no more than its name, or its address, made to describe itself; anything else as it is."""
    if isinstance(entry, type) and entry.__repr__ in UNDESCRIBED:
        type.__setattr__(entry, "__repr__", describe)
    return entry


def _kept(part: Any) -> Iterator[tuple[str, Any]]:
    """The constructor's arguments that the part keeps under their names."""
    for name in _arguments(type(part)):
        with suppress(Exception):  # not kept, or a property that fails: to be shown is no reason to fail
            yield name, getattr(part, name)


@lru_cache(maxsize=1024)
def _arguments(kind: type) -> tuple[str, ...]:
    return tuple(signature(kind).parameters)


def shown(value: Any) -> str:
    """A constant or a part, as `describe` shows it."""
    if isinstance(value, Tensor):
        return _numbers(value)
    if isinstance(value, FunctionType):
        return value.__qualname__
    if isinstance(value, Mapping):
        return _enclosed("{", [f"{key!r}: {shown(inner)}" for key, inner in value.items()], "}")
    return describe(value) if type(value).__repr__ is object.__repr__ else repr(value)


def _numbers(tensor: Tensor) -> str:
    """The number that fills a tensor, or its shape with the ends of its numbers."""
    shape = f"Tensor{tuple(tensor.shape)}"
    if tensor.is_meta or not tensor.numel():
        return shape
    low, high = (float(end) for end in tensor.detach().float().aminmax())
    return repr(float(f"{low:.6g}")) if low == high else f"{shape} from {low:.4g} to {high:.4g}"


def _enclosed(opening: str, items: list[str], closing: str) -> str:
    line = opening + ", ".join(items) + closing
    if len(line) <= WIDTH and "\n" not in line:
        return line
    return "\n".join([opening, *(indent(item, "  ") + "," for item in items), closing])
