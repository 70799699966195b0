"""The public face of detassign.assigners, and its promise to need nothing but torch and scipy."""

import subprocess
import sys

import detassign.assigners as assigners

BLOCKED = ("mmcv", "mmdet", "mmengine", "torchvision", "pycocotools", "cv2", "click", "rich", "matplotlib", "PIL")

PROGRAM = f"""
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {BLOCKED!r}:
            raise ImportError(f"{{name}} is not to be imported")

sys.meta_path.insert(0, Refuse())
import torch
from detassign.assigners import ASSIGNERS, Predictions, Targets, build

points = torch.tensor([[4.0, 4.0], [12.0, 4.0], [4.0, 12.0], [12.0, 12.0]])
boxes = torch.tensor([0.0, 0.0, 16.0, 16.0]).expand(1, 4, 4)
sizes = torch.tensor([[16.0, 16.0]])
targets = Targets.from_lists([torch.tensor([[1.0, 1.0, 15.0, 15.0]])], [torch.tensor([1])], sizes=sizes)
for name in ASSIGNERS:
    assigner = build(name, num_classes=3)
    logits = torch.zeros(1, 4, 3 + assigner.score.background_column, requires_grad=True)
    bins = torch.zeros(1, 4, 4, 8)
    predictions = Predictions(logits, boxes, torch.zeros(1, 4), points, torch.full((4,), 8.0), (4,), distribution=bins)
    sum(assigner.loss(predictions, targets).values()).backward()
print(sorted(set({BLOCKED!r}) & set(sys.modules)))
"""


def test_public_names_are_these():
    assert assigners.__all__ == [
        "AGGREGATORS",
        "ASSIGNERS",
        "ATSS",
        "BACKGROUND",
        "BOX_LOSSES",
        "BRANCHES",
        "COSTS",
        "DENOISINGS",
        "DISCOUNTS",
        "EXTRAS",
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
        "AuxiliaryLoss",
        "Bag",
        "BestLevel",
        "CenterPrior",
        "CenterRegion",
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
        "KnownPairs",
        "LevelBalanced",
        "LogSidesLoss",
        "Matches",
        "MaxIoU",
        "MeanMax",
        "Merged",
        "NearestPoint",
        "Noise",
        "OnPriors",
        "OneToFew",
        "OptimalTransport",
        "Positives",
        "PowerIoU",
        "PredictedIoU",
        "Predictions",
        "Progress",
        "QualityATSS",
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
        "Thresholded",
        "TopIoU",
        "TopK",
        "TwoHeaded",
        "Uniform",
        "Union",
        "aligned_bce",
        "assignment_losses",
        "box_weights",
        "build",
        "count_objects",
        "count_positives",
        "count_targets",
        "countable",
        "countable_as_background",
        "focal",
        "giou_focal",
        "group_sum",
        "ia_bce",
        "iou_bce",
        "mal",
        "mean_max_bag",
        "mean_over_ranks",
        "normalizers",
        "one_to_few",
        "position_supervised",
        "predicted_iou",
        "quality_focal",
        "set_progress",
        "soft_label",
        "task_aligned",
        "varifocal",
    ]
    assert all(hasattr(assigners, name) for name in assigners.__all__)


def test_registered_names_are_at_least_these():
    assert {"atss", "deformable_detr", "detr", "fcos", "gfl", "hungarian", "max_iou"} <= set(assigners.ASSIGNERS)
    assert {"align", "ddq_dense", "lw", "mal", "rank", "stable", "vfl"} <= set(assigners.ASSIGNERS)
    assert {"dw", "dw_original", "dw_paper", "dw_softmax", "dw_top9", "fcos_dual"} <= set(assigners.ASSIGNERS)
    assert {"atss", "center_prior", "center_sampling", "hungarian", "max_iou", "task_aligned", "top_k"} <= set(
        assigners.MATCHINGS
    )
    assert {"cross_entropy", "dual", "dual_paper", "focal", "quality_focal"} <= set(assigners.WEIGHTINGS)
    assert {"sigmoid", "sigmoid_objectness", "softmax"} <= set(assigners.SCORES)
    assert {"dotd", "exp_kl", "iou", "kl", "kl_10", "nwd", "wd"} <= set(assigners.SIMILARITIES)
    assert {"exp_giou", "power_iou", "predicted_iou"} <= set(assigners.QUALITIES)
    assert {"giou", "iou_log", "l1", "relative_giou", "relative_l1"} <= set(assigners.BOX_LOSSES)
    assert {"cross_entropy", "focal", "giou", "iou", "l1", "softmax"} <= set(assigners.COSTS)
    assert {"cdn", "dn"} <= set(assigners.DENOISINGS)


def test_training_on_every_preset_needs_nothing_but_torch_and_scipy():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
