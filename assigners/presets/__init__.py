"""Whole assigners by the names people know, each a choice of parts with the published constants, a file per family.

A preset is an ordinary function; `detassign.assigners.build` finds it by name.
"""

from . import bags, ddod, dense, detr, dw, end_to_end, ota, paa, points, quality, query_pairs, query_targets, tiny, yolo

__all__ = [
    "bags",
    "ddod",
    "dense",
    "detr",
    "dw",
    "end_to_end",
    "ota",
    "paa",
    "points",
    "quality",
    "query_pairs",
    "query_targets",
    "tiny",
    "yolo",
]
