"""Benchmarks: assigners compared under equal conditions, with tables and a figure."""

from .assigners import Cell, compare
from .report import write_report

__all__ = ["Cell", "compare", "write_report"]
