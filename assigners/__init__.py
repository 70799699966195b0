"""Label assignment: which prediction learns which object, and how strongly. Needs torch alone.

Every assigner is a matching x a weighting over a score model, and answers with three weights (`Assignment`).
"""

from .assigner import Assigner
from .branches import Centerness, Foreground, IoUBranch
from .building import build
from .checks import AssignmentWarning
from .denoising import ContrastiveDenoising, Denoising, DenoisingQueries, Noise
from .losses import assignment_losses
from .matching import (
    ATSS,
    PAA,
    CenterPrior,
    CenterSampling,
    DynamicK,
    Hungarian,
    MaxIoU,
    OptimalTransport,
    Region,
    TaskAligned,
    TopK,
)
from .normalizers import mean_over_ranks, normalizers
from .progress import Progress, set_progress
from .quality import ExpGIoU, PowerIoU, PredictedIoU, predicted_iou
from .registry import (
    ASSIGNERS,
    BOX_LOSSES,
    BRANCHES,
    COSTS,
    DENOISINGS,
    MATCHINGS,
    QUALITIES,
    SCORES,
    SOFT_TARGETS,
    WEIGHTINGS,
)
from .scores import Scores, Sigmoid, SigmoidObjectness, Softmax
from .staged import Staged
from .structures import BACKGROUND, Assignment, Matches, Predictions, Targets
from .two_headed import TwoHeaded
from .weighting import (
    CrossEntropy,
    Dual,
    SoftTarget,
    aligned_bce,
    focal,
    iou_bce,
    quality_focal,
    soft_label,
    task_aligned,
    varifocal,
)
from .weighting.common import box_weights, count_objects, count_positives, count_targets, countable, group_sum

__all__ = [
    "ASSIGNERS",
    "ATSS",
    "BACKGROUND",
    "BOX_LOSSES",
    "BRANCHES",
    "COSTS",
    "DENOISINGS",
    "MATCHINGS",
    "PAA",
    "QUALITIES",
    "SCORES",
    "SOFT_TARGETS",
    "WEIGHTINGS",
    "Assigner",
    "Assignment",
    "AssignmentWarning",
    "CenterPrior",
    "CenterSampling",
    "Centerness",
    "ContrastiveDenoising",
    "CrossEntropy",
    "Denoising",
    "DenoisingQueries",
    "Dual",
    "DynamicK",
    "ExpGIoU",
    "Foreground",
    "Hungarian",
    "IoUBranch",
    "Matches",
    "MaxIoU",
    "Noise",
    "OptimalTransport",
    "PowerIoU",
    "PredictedIoU",
    "Predictions",
    "Progress",
    "Region",
    "Scores",
    "Sigmoid",
    "SigmoidObjectness",
    "SoftTarget",
    "Softmax",
    "Staged",
    "Targets",
    "TaskAligned",
    "TopK",
    "TwoHeaded",
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
    "mean_over_ranks",
    "normalizers",
    "predicted_iou",
    "quality_focal",
    "set_progress",
    "soft_label",
    "task_aligned",
    "varifocal",
]
