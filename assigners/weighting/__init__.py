"""Weightings: how strongly each matched pair pulls and each sample pushes."""

from .cross_entropy import CrossEntropy
from .dual import Dual, dual_paper
from .focal import Focal
from .quality_focal import QualityFocal

__all__ = ["CrossEntropy", "Dual", "Focal", "QualityFocal", "dual_paper"]
