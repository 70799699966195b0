"""Label assignment: which prediction learns which object, and how strongly. Needs torch alone.

Every assigner is a matching x a weighting over a score model, and answers with three weights (`Assignment`).
"""

from .aggregators import Exponential, MeanMax
from .assigner import Assigner
from .branches import Centerness, Foreground, IoUBranch
from .building import build
from .checks import AssignmentWarning
from .denoising import ContrastiveDenoising, Denoising, DenoisingQueries, Noise
from .discounts import Ramp, RelativeFit
from .encoded_losses import DeltaLoss, LogSidesLoss
from .losses import assignment_losses
from .matching import (
    ATSS,
    PAA,
    POTO,
    CenterPrior,
    CenterSampling,
    DynamicK,
    Fovea,
    Hungarian,
    MaxIoU,
    NearestPoint,
    OptimalTransport,
    Ranking,
    ReceptiveField,
    Region,
    TaskAligned,
    TopIoU,
    TopK,
    Uniform,
)
from .normalizers import mean_over_ranks, normalizers
from .progress import Progress, set_progress
from .quality import ExpGIoU, PowerIoU, PredictedIoU, predicted_iou
from .registry import (
    AGGREGATORS,
    ASSIGNERS,
    BOX_LOSSES,
    BRANCHES,
    COSTS,
    DENOISINGS,
    DISCOUNTS,
    MATCHINGS,
    QUALITIES,
    SCORES,
    SIMILARITIES,
    SOFT_TARGETS,
    WEIGHTINGS,
)
from .scores import GeometricMean, Scores, Sigmoid, SigmoidObjectness, Softmax
from .similarity import KL, NWD, DotD
from .split import Split
from .staged import Staged
from .structures import BACKGROUND, Assignment, Matches, Predictions, Targets
from .two_headed import TwoHeaded
from .weighting import (
    Bag,
    CrossEntropy,
    Dual,
    LevelBalanced,
    SoftTarget,
    aligned_bce,
    focal,
    iou_bce,
    mean_max_bag,
    quality_focal,
    soft_label,
    task_aligned,
    varifocal,
)
from .weighting.common import box_weights, count_objects, count_positives, count_targets, countable, group_sum

__all__ = [
    "AGGREGATORS",
    "ASSIGNERS",
    "ATSS",
    "BACKGROUND",
    "BOX_LOSSES",
    "BRANCHES",
    "COSTS",
    "DENOISINGS",
    "DISCOUNTS",
    "KL",
    "MATCHINGS",
    "NWD",
    "PAA",
    "POTO",
    "QUALITIES",
    "SCORES",
    "SIMILARITIES",
    "SOFT_TARGETS",
    "WEIGHTINGS",
    "Assigner",
    "Assignment",
    "AssignmentWarning",
    "Bag",
    "CenterPrior",
    "CenterSampling",
    "Centerness",
    "ContrastiveDenoising",
    "CrossEntropy",
    "DeltaLoss",
    "Denoising",
    "DenoisingQueries",
    "DotD",
    "Dual",
    "DynamicK",
    "ExpGIoU",
    "Exponential",
    "Foreground",
    "Fovea",
    "GeometricMean",
    "Hungarian",
    "IoUBranch",
    "LevelBalanced",
    "LogSidesLoss",
    "Matches",
    "MaxIoU",
    "MeanMax",
    "NearestPoint",
    "Noise",
    "OptimalTransport",
    "PowerIoU",
    "PredictedIoU",
    "Predictions",
    "Progress",
    "Ramp",
    "Ranking",
    "ReceptiveField",
    "Region",
    "RelativeFit",
    "Scores",
    "Sigmoid",
    "SigmoidObjectness",
    "SoftTarget",
    "Softmax",
    "Split",
    "Staged",
    "Targets",
    "TaskAligned",
    "TopIoU",
    "TopK",
    "TwoHeaded",
    "Uniform",
    "aligned_bce",
    "assignment_losses",
    "box_weights",
    "build",
    "count_objects",
    "count_positives",
    "count_targets",
    "countable",
    "focal",
    "group_sum",
    "iou_bce",
    "mean_max_bag",
    "mean_over_ranks",
    "normalizers",
    "predicted_iou",
    "quality_focal",
    "set_progress",
    "soft_label",
    "task_aligned",
    "varifocal",
]
