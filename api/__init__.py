"""Label assignment for object detectors: any matching with any weighting, in one loss.

Importing this package imports nothing else; what it offers is loaded when it is first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from detassign import assigners, data, detectors, heads, ops, testing
    from detassign.comparing import compare
    from detassign.evaluation import evaluate
    from detassign.inspecting import inspect
    from detassign.loading import load
    from detassign.training import train

    __version__: str

__all__ = [
    "__version__",
    "assigners",
    "compare",
    "data",
    "detectors",
    "evaluate",
    "heads",
    "inspect",
    "load",
    "ops",
    "testing",
    "train",
]

_PACKAGES = ("assigners", "data", "detectors", "heads", "ops", "testing")
_HOMES = {
    "compare": "comparing",
    "evaluate": "evaluation",
    "inspect": "inspecting",
    "load": "loading",
    "train": "training",
}


def __getattr__(name: str) -> Any:
    """What is asked for, loaded now."""
    if name in _HOMES:
        value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    elif name in _PACKAGES:
        value = importlib.import_module(f"{__name__}.{name}")
    elif name == "__version__":
        value = importlib.import_module("importlib.metadata").version(__name__)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
