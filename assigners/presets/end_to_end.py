"""Fully convolutional detectors without NMS: one sample for every object, or one and a few that are so by halves."""

from __future__ import annotations

from typing import Any, Literal

from ..assigner import Assigner
from ..auxiliary_loss import AuxiliaryLoss
from ..registry import ASSIGNERS
from ..weighting import focal, one_to_few


@ASSIGNERS.register("poto")
def poto(
    num_classes: int,
    radius: float | None = 1.5,
    quality: Literal["alignment", "loss"] = "alignment",
    choice: Literal["hungarian", "argmax"] = "hungarian",
    leftovers: bool = False,
    score: Any = "sigmoid",
) -> Assigner:
    """POTO (DeFCN, arXiv 2012.03544): one sample per object x focal loss, GIoU weight 2; boxes by the number of pairs.

    What differs from its code is said at the matching, `POTO`.

    Args:
        num_classes: C.
        radius, quality, choice, leftovers: as of `POTO`.
        score: the score model.
    """
    matching = {"type": "poto", "radius": radius, "quality": quality, "choice": choice, "leftovers": leftovers}
    return Assigner(matching, focal(box_scale=2.0), score, num_classes=num_classes)


@ASSIGNERS.register("poto_filter")
def poto_filter(
    num_classes: int,
    radius: float | None = 1.5,
    quality: Literal["alignment", "loss"] = "alignment",
    choice: Literal["hungarian", "argmax"] = "hungarian",
    leftovers: bool = False,
    score: Any = "sigmoid_objectness",
) -> Assigner:
    """POTO over the product of class score and a second branch, which in DeFCN comes from 3D max filtering.

    The filter is a part of the head, `branch_tower="max_filter"`: the recipe `poto_3dmf` has both.

    Args:
        num_classes: C.
        radius, quality, choice, leftovers: as of `POTO`.
        score: the score model; DeFCN multiplies probabilities, {"type": "sigmoid_objectness", "space": "probability"}.
    """
    return poto(num_classes, radius, quality, choice, leftovers, score)


@ASSIGNERS.register("poto_aux")
def poto_aux(
    num_classes: int,
    k: int = 9,
    weight: float = 1.0,
    radius: float | None = 1.5,
    choice: Literal["hungarian", "argmax"] = "hungarian",
    leftovers: bool = False,
    score: Any = "sigmoid_objectness",
) -> AuxiliaryLoss:
    """`poto_filter`, and beside it the focal loss of the class score alone against labels of several samples per object.

    The auxiliary labels are those of `QualityATSS`; they train features, and detections still need no NMS.

    Args:
        num_classes: C.
        k: samples per object and level of which the auxiliary labels choose.
        weight: of the auxiliary loss.
        radius, choice, leftovers, score: as of `poto_filter`.
    """
    main = poto(num_classes, radius, choice=choice, leftovers=leftovers, score=score)
    other = Assigner({"type": "quality_atss", "k": k}, focal(), "sigmoid", None, num_classes)
    return AuxiliaryLoss(main, other, weight)


@ASSIGNERS.register("o2f")
def o2f(
    num_classes: int,
    k: int = 7,
    radius: float | None = 1.5,
    first: float = 0.6,
    last: float = 0.2,
    score: Any = "sigmoid_objectness",
) -> Assigner:
    """One-to-few (arXiv 2303.11567): an object's best sample is positive, up to six others by halves, less and less.

    Differs from its code: an image without objects is all background, where it raises; a batch without pairs has no loss of
    boxes, where it is the sum of all predicted distances; how positive the others are follows every step, not the epochs.
    The second branch learns through the product alone. In its head that branch has convolutions of its own, as in the
    recipe `o2f`.

    Args:
        num_classes: C.
        k: samples per object; 4 on CrowdHuman.
        radius: as of `OneToFew`.
        first, last: as of `OneAndFew`.
        score: the score model; the original multiplies probabilities, {"type": "sigmoid_objectness", "space": "probability"}.
    """
    matching = {"type": "one_to_few", "k": k, "radius": radius}
    return Assigner(matching, one_to_few(first, last), score, num_classes=num_classes)
