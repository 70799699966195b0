"""Matchings: which samples may answer for which target."""

from .atss import ATSS
from .center_prior import CenterPrior
from .center_sampling import CenterSampling
from .hungarian import Hungarian
from .max_iou import MaxIoU
from .task_aligned import TaskAligned
from .top_k import TopK

__all__ = ["ATSS", "CenterPrior", "CenterSampling", "Hungarian", "MaxIoU", "TaskAligned", "TopK"]
