"""Matchings: which samples may answer for which target."""

from .atss import ATSS
from .center_prior import CenterPrior
from .center_sampling import CenterSampling
from .dynamic_k import DynamicK, dynamic_soft_label, lla, simota, simota_v1
from .hungarian import Hungarian
from .max_iou import MaxIoU
from .optimal_transport import OptimalTransport
from .paa import PAA
from .poto import POTO
from .regions import Region
from .task_aligned import TaskAligned
from .top_iou import TopIoU
from .top_k import TopK

__all__ = [
    "ATSS",
    "PAA",
    "POTO",
    "CenterPrior",
    "CenterSampling",
    "DynamicK",
    "Hungarian",
    "MaxIoU",
    "OptimalTransport",
    "Region",
    "TaskAligned",
    "TopIoU",
    "TopK",
    "dynamic_soft_label",
    "lla",
    "simota",
    "simota_v1",
]
