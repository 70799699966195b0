"""Data sets in COCO's, YOLO's and Pascal VOC's forms: generate one, find one, check one."""

from .check import check
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
