"""Data sets in COCO's, YOLO's and Pascal VOC's forms: generate one, find one, check one.

What reads pictures is loaded when it is first asked for: commands that read none start without it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .checking import check
    from .report import Finding, Report
    from .sources import DATASETS, DataSource, cache_folder, read_categories, resolve
    from .style import SceneStyle
    from .subset import make_subset
    from .synthetic import Summary, make_dataset

__all__ = [
    "DATASETS",
    "DataSource",
    "Finding",
    "Report",
    "SceneStyle",
    "Summary",
    "cache_folder",
    "check",
    "make_dataset",
    "make_subset",
    "read_categories",
    "resolve",
]

_HOMES = {
    "checking": "check",
    "report": "Finding Report",
    "sources": "DATASETS DataSource cache_folder read_categories resolve",
    "style": "SceneStyle",
    "subset": "make_subset",
    "synthetic": "Summary make_dataset",
}


def __getattr__(name: str) -> Any:
    """What is asked for, loaded now."""
    home = next((home for home, names in _HOMES.items() if name in names.split()), None)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{home}", __name__), name)


def __dir__() -> list[str]:
    return __all__
