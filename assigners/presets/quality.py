"""Scores that say how well a box fits: GFL and VarifocalNet under ATSS, TOOD beginning with it."""

from __future__ import annotations

from ..assigner import Assigner
from ..matching import ATSS, TaskAligned
from ..registry import ASSIGNERS
from ..scores import GeometricMean
from ..staged import Staged
from ..weighting import focal, quality_focal, task_aligned, varifocal


@ASSIGNERS.register("gfl")
def gfl(num_classes: int, k: int = 9, beta: float = 2.0, distribution: bool = True) -> Assigner:
    """GFL (arXiv 2006.04388): ATSS x quality focal; boxes weighted by their score, GIoU weight 2 and distribution focal 0.25.

    Args:
        num_classes: C.
        k: candidates per object and level.
        beta: exponent of the modulation.
        distribution: whether the head predicts a distribution of each distance, which is trained too; False is for heads
            that have none (queries).
    """
    box_loss = {"box": {"type": "giou", "weight": 2.0}, "dfl": 0.25} if distribution else "giou"
    weighting = quality_focal(beta, box_scale=1.0 if distribution else 2.0, floor_per_image=True)
    return Assigner(ATSS(k=k), weighting, box_loss=box_loss, num_classes=num_classes)


@ASSIGNERS.register("vfnet")
def vfnet(num_classes: int, k: int = 9, alpha: float = 0.75, gamma: float = 2.0, box_scale: float = 2.0) -> Assigner:
    """VarifocalNet (arXiv 2008.13367): ATSS x varifocal; boxes weighted by their IoU.

    These are the losses of the classes and of the refined box. VarifocalNet's head has a first box too, whose loss is that of
    the same assigner with a `box_scale` of 1.5. A pair with IoU 0 stays a pair, whose score is to be 0; in the original the IoU
    is at least 1e-6.

    Args:
        num_classes: C.
        k: candidates per object and level.
        alpha, gamma, box_scale: as of `varifocal`.
    """
    weighting = varifocal(alpha, gamma, box_scale=box_scale)
    return Assigner(ATSS(k=k), weighting, num_classes=num_classes)


@ASSIGNERS.register("tood")
def tood(num_classes: int, k: int = 13, first_k: int = 9, aligned_from: float = 4 / 12) -> Staged | Assigner:
    """TOOD (arXiv 2108.07755): ATSS x focal for the first third, then task-aligned in matching and weights; P of two branches.

    A sum of aligned targets below 1 divides as 1, as in mmdet; in the authors' code it divides as it is.
    The tower of TOOD's head is not an assigner's: the recipe `tood` has both.

    Args:
        num_classes: C.
        k: samples that an object takes once they are aligned.
        first_k: candidates per object and level before.
        aligned_from: share of the training at which alignment takes over (epoch 4 of 12); 0 begins with it.
    """
    aligned = Assigner(TaskAligned(k, score="geometric_mean"), task_aligned(), GeometricMean(), num_classes=num_classes)
    if aligned_from == 0:
        return aligned
    weighting = focal(box_weight="centerness", box_scale=2.0)
    first = Assigner(ATSS(k=first_k), weighting, GeometricMean(), num_classes=num_classes)
    return Staged({0.0: first, aligned_from: aligned})
