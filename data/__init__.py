"""Data sets in COCO form: generate one, find one, check one."""

from .check import check
from .coco import DATASETS, DataSource, cache_folder, read_categories, resolve
from .report import Finding, Report
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
