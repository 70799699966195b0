"""Label assignment for object detectors: any matching with any weighting, in one loss.

Importing this package imports nothing else; what it offers is loaded when it is first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import assigners, data, detectors, heads, ops, testing

    __version__: str

__all__ = ["__version__", "assigners", "data", "detectors", "heads", "ops", "testing"]

_PACKAGES = ("assigners", "data", "detectors", "heads", "ops", "testing")


def __getattr__(name: str) -> Any:
    """What is asked for, loaded now."""
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("detassign")
    if name in _PACKAGES:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
