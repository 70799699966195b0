"""Weightings: how strongly each matched pair pulls and each sample pushes."""

from .bag import Bag, mean_max_bag
from .cross_entropy import CrossEntropy
from .dual import Dual, dual_paper
from .level_balanced import LevelBalanced, LevelCounts
from .query_targets import giou_focal, ia_bce, mal, position_supervised
from .soft_target import (
    SoftTarget,
    aligned_bce,
    focal,
    iou_bce,
    one_to_few,
    quality_focal,
    soft_label,
    task_aligned,
    varifocal,
)

__all__ = [
    "Bag",
    "CrossEntropy",
    "Dual",
    "LevelBalanced",
    "LevelCounts",
    "SoftTarget",
    "aligned_bce",
    "dual_paper",
    "focal",
    "giou_focal",
    "ia_bce",
    "iou_bce",
    "mal",
    "mean_max_bag",
    "one_to_few",
    "position_supervised",
    "quality_focal",
    "soft_label",
    "task_aligned",
    "varifocal",
]
