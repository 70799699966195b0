"""Rules of place and size: FoveaBox, FSAF, RepPoints' points, YOLOF."""

from __future__ import annotations

from collections.abc import Sequence

from ..assigner import Assigner
from ..matching import BestLevel, CenterRegion, Fovea, NearestPoint, Uniform
from ..matching.pairs import Conflict
from ..registry import ASSIGNERS
from ..scores import Sigmoid
from ..soft_targets import One
from ..weighting import SoftTarget, focal


@ASSIGNERS.register("foveabox")
def foveabox(
    num_classes: int, sigma: float = 0.4, ranges: Sequence[tuple[float, float]] | None = None, unit: float = 2.0
) -> Assigner:
    """FoveaBox (arXiv 1904.03797): the middle of objects on one or two levels x focal (0.4, 1.5), smooth L1 of logs of sides.

    Args:
        num_classes: C.
        sigma, ranges: as of `Fovea`.
        unit: as of `LogSidesLoss`, its base edge in strides.
    """
    weighting = focal(alpha=0.4, gamma=1.5, count="positives_and_images")
    box_loss = {"type": "log_sides", "unit": unit}
    return Assigner(Fovea(sigma, ranges), weighting, Sigmoid(), box_loss, num_classes=num_classes)


@ASSIGNERS.register("fsaf")
def fsaf(num_classes: int, core: float = 0.2, least_share: float = 0.01, foreground_dominates: bool = True) -> Assigner:
    """FSAF (arXiv 1903.00621), without anchors: the middle of objects, on the level of least loss x focal, -log IoU.

    Other than in mmdet's code, a cell that two objects of one class contest is learned by the smaller one, and a batch without
    objects is divided by 1, not by the number of samples.

    Args:
        num_classes: C.
        core, least_share, foreground_dominates: as of `CenterRegion`; mmdet's is False.
    """
    matching = BestLevel(CenterRegion(core, None, least_share, foreground_dominates))
    return Assigner(matching, focal(), Sigmoid(), "iou_log", num_classes=num_classes)


@ASSIGNERS.register("reppoints")
def reppoints(num_classes: int, k: int = 1, scale: float = 4.0) -> Assigner:
    """RepPoints' first stage (arXiv 1904.11490): each object's nearest point x focal, GIoU in the place of its point loss.

    Args:
        num_classes: C.
        k, scale: as of `NearestPoint`.
    """
    return Assigner(NearestPoint(k, scale), focal(), Sigmoid(), num_classes=num_classes)


@ASSIGNERS.register("yolof")
def yolof(num_classes: int, k: int = 4, prior_scale: float = 4.0, conflict: Conflict = "best") -> Assigner:
    """YOLOF (arXiv 2103.09460): uniform matching x focal, GIoU.

    Other than in its code, a sample that several objects chose learns class and box of one, the one that its anchor overlaps
    most; there it learns the class of the last of the list and the boxes of all, twice what was chosen twice.

    Args:
        num_classes: C.
        k, prior_scale, conflict: as of `Uniform`.
    """
    weighting = SoftTarget(
        One(), matched_scale=0.25, background_scale=0.75, box_count="positives", floor_per_image=True
    )
    return Assigner(
        Uniform(k, conflict=conflict, prior_scale=prior_scale), weighting, Sigmoid(), num_classes=num_classes
    )
