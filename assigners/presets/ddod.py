"""DDOD, disentangled dense detection (arXiv 2107.02963)."""

from __future__ import annotations

from ..assigner import Assigner
from ..branches import IoUBranch
from ..matching import ATSS
from ..registry import ASSIGNERS
from ..split import Split
from ..weighting import LevelBalanced, LevelCounts, focal


@ASSIGNERS.register("ddod")
def ddod(num_classes: int, k: int = 9, class_alpha: float = 0.8, box_alpha: float = 0.5, balance: bool = True) -> Split:
    """DDOD: two matchings, ATSS by P^(1 - alpha) IoU^alpha, for classes and for boxes; focal, GIoU weight 2, an IoU branch.

    Levels that have had few positives weigh more. Their counts are averaged over ranks and saved with checkpoints; the
    original's are each process's own and begin anew after a resume.

    Args:
        num_classes: C.
        k: candidates per object and level.
        class_alpha, box_alpha: of the two matchings.
        balance: whether levels are weighed.
    """
    weighting, counts = focal(box_scale=2.0, floor_per_image=True, box_count="positives"), LevelCounts()
    weightings = [LevelBalanced(weighting, counts) if balance else weighting for _ in range(2)]
    matchings = [ATSS(k=k, alpha=alpha) for alpha in (class_alpha, box_alpha)]
    branches = None, IoUBranch(0.5, power=1.0, as_boxes=True)  # 1 beside the 2 of boxes
    classes, boxes = (
        Assigner(matching, each, num_classes=num_classes, branch=branch)
        for matching, each, branch in zip(matchings, weightings, branches, strict=True)
    )
    return Split(classes, boxes)
