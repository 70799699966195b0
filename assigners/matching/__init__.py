"""Matchings: which samples may answer for which target."""

from .atss import ATSS
from .best_level import BestLevel
from .center_prior import CenterPrior
from .center_region import CenterRegion
from .center_sampling import CenterSampling
from .dynamic_k import DynamicK, dynamic_soft_label, lla, simota, simota_v1
from .fovea import Fovea
from .hungarian import Hungarian
from .max_iou import MaxIoU
from .merged import Merged
from .nearest_point import NearestPoint
from .on_priors import OnPriors
from .one_to_few import OneToFew
from .optimal_transport import OptimalTransport
from .paa import PAA
from .poto import POTO
from .quality_atss import QualityATSS
from .ranking import Ranking
from .receptive_field import ReceptiveField
from .regions import Region
from .task_aligned import TaskAligned
from .thresholded import Thresholded
from .top_iou import TopIoU
from .top_k import TopK
from .uniform import Uniform
from .union import Union

__all__ = [
    "ATSS",
    "PAA",
    "POTO",
    "BestLevel",
    "CenterPrior",
    "CenterRegion",
    "CenterSampling",
    "DynamicK",
    "Fovea",
    "Hungarian",
    "MaxIoU",
    "Merged",
    "NearestPoint",
    "OnPriors",
    "OneToFew",
    "OptimalTransport",
    "QualityATSS",
    "Ranking",
    "ReceptiveField",
    "Region",
    "TaskAligned",
    "Thresholded",
    "TopIoU",
    "TopK",
    "Uniform",
    "Union",
    "dynamic_soft_label",
    "lla",
    "simota",
    "simota_v1",
]
