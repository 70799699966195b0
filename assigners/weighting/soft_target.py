"""Soft-target weighting: one family for focal, quality focal, varifocal, task-aligned and most that came after.

The class score of a matched pair should reach a target t in [0, 1]. In the language of weights

    w⁺ = m t,  w⁻ = m (1 − t)      on the class of a matched sample
    w⁻ = b P^gamma                 on every other class and sample

and the members differ in the target, in the modulation m, in b and gamma, in what carries gradient and in what the sums
are divided by. t never carries gradient; the modulations do unless told otherwise.

| name | t | m | b P^gamma | classes by |
|---|---|---|---|---|
| focal (arXiv 1708.02002, eq. 5) | 1 | alpha \\|t − P\\|^gamma | (1 − alpha) P^gamma | positives |
| quality_focal (GFL, 2006.04388, eq. 5) | IoU | \\|t − P\\|^2 | P^2 | positives |
| varifocal (VFNet, 2008.13367, eq. 2) | IoU | t | 0.75 P^2 | positives |
| mal (DEIM, 2412.04234) | IoU^1.5 | 1 | P^1.5, detached | targets |
| ia_bce (Align-DETR, 2304.07527) | P^0.25 IoU^0.75, at least 0.01 | 1 | P^2 | targets |
| position_supervised (Stable-DINO, 2304.04742) | IoU^2, per image | 0.25 \\|t − P\\|^2 | 0.75 P^2 | targets |
| giou_focal (Rank-DETR, 2310.08854) | (GIoU + 1) / 2 | 0.25 \\|t − P\\|^2 | 0.75 P^2 | targets |
| task_aligned (TOOD, 2108.07755, eq. 4-5) | aligned, per object | \\|t − P\\|^2 | P^2 | sum of t |
| aligned_bce (YOLOv8) | aligned, per object | 1 | 1 | sum of t |
| soft_label (RTMDet, 2212.07784) | IoU | \\|t − P\\|^2 | P^2 | sum of t |
| one_to_few (o2f, 2303.11567) | 1, of others P T | 1, of others 0.4 | 0.75 P^2 | positives |
| iou_bce (YOLOX, 2107.08430) | IoU | 1 | 1, on matched samples only | positives |
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from ..checks import check_choice, check_positive
from ..needs import needs_of
from ..normalizers import normalizers
from ..pushes import Entries, Focal, power
from ..ranking import rank_within
from ..registry import SOFT_TARGETS, WEIGHTINGS
from ..scores import Scores, probability_of
from ..soft_targets import Alignment, IoU, One, OneAndFew, PerObject
from ..structures import Assignment, Matches, Predictions, Targets
from .common import BoxWeight, Count, box_weights, countable, counted

Modulation = Literal["none", "distance", "target"]


@WEIGHTINGS.register("soft_target")
class SoftTarget(nn.Module):
    """The family; see the table above for its members.

    Args:
        target: t; a name, a dict or a callable of `SOFT_TARGETS`.
        modulation: m is 1 ("none"), |t − P|^gamma ("distance") or t itself ("target").
        gamma: exponent of the modulations.
        matched_scale: multiplies m.
        soft_scale: multiplies m of the pairs whose t is below 1.
        background_scale: b, 0 leaves samples without a target alone.
        rank_decay: r: the pairs of an object, in the order of their t, have e^(-rank / r) of their t and of their w°, rank 0
            being the best, of equal ones that of the best match (Align-DETR 1.5); None leaves them alone.
        negatives: the samples that are pushed away from classes, "all" or "matched" ones only (YOLOX), where a second branch
            learns what is background: an assigner then has the branch "foreground" unless told otherwise; or those of
            images "with_targets" (DDQ's code).
        detach: keep the modulations from carrying gradient.
        class_scale: multiplies w⁺ and w⁻ (the weight of the class terms).
        box_weight: w° is 1 ("one"), the centerness ("centerness", FCOS), the sample's best score ("score", GFL), the
            IoU of the predicted box ("iou", PAA, VFNet) or t ("target", TOOD).
        least_side: a point counts as so many strides from every side at least, where the centerness is measured (RFLA 0.01).
        box_scale: multiplies w° after the normaliser is taken (the weight of the box term).
        count: the class terms are divided by the number of "positives", of "targets" (DETR's num_boxes, which counts a
            target without a sample too, and a pair of a target that has several) or of "targets_once" (Align-DETR, which
            does not), by the sum of t ("weights"), by the number of positives or of images, whichever is larger ("images",
            mmdet's PAA), or by their sum ("positives_and_images", FoveaBox).
        box_count: the same for boxes, "weights" being the sum of w°; None follows `count` where that is of targets, and is
            "weights" else.
        floor_per_image: count an image without positives as one (mmdet's anchor heads do), not only a whole batch.
        box_floor: least value of the box normaliser.

    Raises:
        ValueError: for an unknown choice.
    """

    score_models: tuple[str, ...] | None = None

    def __init__(
        self,
        target: Any = "iou",
        modulation: Modulation = "distance",
        gamma: float = 2.0,
        matched_scale: float = 1.0,
        soft_scale: float = 1.0,
        background_scale: float = 1.0,
        rank_decay: float | None = None,
        negatives: Literal["all", "matched", "with_targets"] = "all",
        detach: bool = False,
        class_scale: float = 1.0,
        box_weight: BoxWeight = "one",
        box_scale: float = 1.0,
        count: Count = "positives",
        box_count: Count | None = None,
        floor_per_image: bool = False,
        box_floor: float = 1.0,
        least_side: float = 0.0,
    ) -> None:
        super().__init__()
        check_choice("modulation", modulation, get_args(Modulation))
        check_choice("box_weight", box_weight, get_args(BoxWeight))
        check_choice("count", count, get_args(Count))
        check_choice("negatives", negatives, tuple(PUSHED))
        if rank_decay is not None:
            check_positive("rank_decay", rank_decay)
        if box_count is not None:
            check_choice("box_count", box_count, get_args(Count))
        self.target = SOFT_TARGETS.build(target)
        self.modulation = modulation
        self.gamma = gamma
        self.matched_scale = matched_scale
        self.soft_scale = soft_scale
        self.background_scale = background_scale
        self.rank_decay = rank_decay
        self.negatives = negatives
        if self.background_by_branch:
            self.score_models = ("Sigmoid",)  # the others share a background, or the branch, with the classes
        self.detach = detach
        self.class_scale = class_scale
        self.box_weight: BoxWeight = box_weight
        self.box_scale = box_scale
        self.count: Count = count
        self.box_count: Count = box_count or (count if count.startswith("targets") else "weights")
        self.floor_per_image = floor_per_image
        self.box_floor = box_floor
        self.least_side = least_side

    @property
    def needs(self) -> frozenset[str]:
        """What the soft target needs, and points and strides where the centerness is measured from them."""
        own = {"points"} if self.box_weight == "centerness" else set()
        return needs_of(self.target) | own | ({"strides"} if own and self.least_side else set())

    @property
    def kind(self) -> tuple[Any, ...]:
        """What makes one member of the family another than the next, whatever their constants."""
        inner = getattr(self.target, "target", None)
        choices = self.modulation, self.negatives, self.box_weight == "target", self.rank_decay is not None
        return SoftTarget, type(self.target), type(inner), *choices

    @property
    def background_by_branch(self) -> bool:
        """Whether samples without a target are left to a second branch of the head."""
        return self.negatives == "matched"

    def forward(self, predictions: Predictions, targets: Targets, matches: Matches, scores: Scores) -> Assignment:
        entries = Entries.of(matches, targets, scores)
        wanted = self.target(predictions, targets, matches, scores).to(entries.log_absent)
        decay = self._decay(wanted, matches, targets)
        wanted = decay * wanted
        strongest = entries.settled(wanted, "amax")

        modulation = self._modulation(strongest, probability_of(entries.log_absent))
        keep = countable(predictions, matches) * PUSHED[self.negatives](predictions, targets, matches)
        scale, pushed = self.class_scale * self.background_scale, modulation * (1 - strongest)
        among = entries.index[:2] if self.background_by_branch else None
        negative = Focal.around(entries, pushed, scores, scale, self.gamma, keep, self.detach, among)
        positive = modulation * wanted * (wanted == strongest)  # one class wanted twice learns the better target

        box = decay * box_weights(self.box_weight, predictions, targets, matches, scores, wanted, self.least_side)
        norm = self._normalizers(wanted, box, predictions, targets, matches)
        return Assignment(matches, positive, negative, self.box_scale * box, norm, details={"target": wanted})

    def _decay(self, wanted: Tensor, matches: Matches, targets: Targets) -> Tensor:
        """(P,) or scalar 1: what is left of each pair for its rank among those of its target."""
        if self.rank_decay is None:
            return wanted.new_ones(())
        rank = rank_within(matches.flat_target(targets), wanted, matches.score)
        return (-rank.to(wanted) / self.rank_decay).exp()

    def _normalizers(
        self, wanted: Tensor, box: Tensor, predictions: Predictions, targets: Targets, matches: Matches
    ) -> Tensor:
        """(3, ...) what classes, with both signs, and boxes are divided by, from t and w° (P,)."""
        count = counted(self.count, wanted, targets, matches, predictions, self.floor_per_image)
        box_count = counted(self.box_count, box, targets, matches, predictions, self.floor_per_image)
        return normalizers(count, count, box_count, floor=(1.0, 1.0, self.box_floor))

    def _modulation(self, wanted: Tensor, probability: Tensor) -> Tensor:
        """(P,) m of each pair."""
        probability = probability.detach() if self.detach else probability
        scale = self.class_scale * self.matched_scale
        if self.soft_scale != 1:
            scale = scale * torch.where(wanted < 1, self.soft_scale, 1.0)
        if self.modulation == "distance":
            return scale * power((wanted - probability).abs(), self.gamma)
        return scale * (wanted if self.modulation == "target" else torch.ones_like(wanted))


def all_samples(predictions: Predictions, targets: Targets, matches: Matches) -> Tensor:
    """Scalar True, of every sample."""
    return targets.mask.new_ones(())


def matched_samples(predictions: Predictions, targets: Targets, matches: Matches) -> Tensor:
    """(B, N, 1) bool, whether a sample has a target."""
    matched = torch.zeros(predictions.logits.shape[:2], dtype=torch.bool, device=predictions.logits.device)
    matched[matches.image, matches.sample] = True
    return matched[..., None]


def samples_beside_targets(predictions: Predictions, targets: Targets, matches: Matches) -> Tensor:
    """(B, 1, 1) bool, whether an image has a target."""
    return targets.mask.any(1)[:, None, None]


PUSHED = {"all": all_samples, "matched": matched_samples, "with_targets": samples_beside_targets}
"""Which samples are pushed away from classes, by `SoftTarget`'s choice of negatives."""


@WEIGHTINGS.register("focal")
def focal(
    alpha: float | None = 0.25,
    gamma: float = 2.0,
    box_weight: BoxWeight = "one",
    box_scale: float = 1.0,
    floor_per_image: bool = False,
    box_floor: float = 1.0,
    class_scale: float = 1.0,
    count: Count = "positives",
    box_count: Count | None = None,
    least_side: float = 0.0,
) -> SoftTarget:
    """Focal loss: one-hot targets, easy samples count less.

    Args:
        alpha: share of the positives, 1 − alpha that of the negatives; None leaves both signs unweighted.
        gamma: focal exponent; 0 is cross entropy.
        box_weight, box_scale, floor_per_image, box_floor, class_scale, count, box_count, least_side: as of `SoftTarget`.
    """
    positive, negative = (1.0, 1.0) if alpha is None else (alpha, 1 - alpha)
    return SoftTarget(
        One(),
        gamma=gamma,
        matched_scale=positive,
        background_scale=negative,
        class_scale=class_scale,
        box_weight=box_weight,
        box_scale=box_scale,
        count=count,
        box_count=box_count,
        floor_per_image=floor_per_image,
        box_floor=box_floor,
        least_side=least_side,
    )


@WEIGHTINGS.register("quality_focal")
def quality_focal(
    beta: float = 2.0, box_weight: BoxWeight = "score", box_scale: float = 2.0, floor_per_image: bool = False
) -> SoftTarget:
    """Quality focal loss (GFL): the score of a matched sample should equal the IoU of its box.

    Args:
        beta: exponent of the modulation.
        box_weight, box_scale, floor_per_image: as of `SoftTarget`.
    """
    return SoftTarget(IoU(), gamma=beta, box_weight=box_weight, box_scale=box_scale, floor_per_image=floor_per_image)


@WEIGHTINGS.register("varifocal")
def varifocal(
    alpha: float = 0.75,
    gamma: float = 2.0,
    box_weight: BoxWeight = "iou",
    box_scale: float = 2.0,
    detach: bool = False,
    class_scale: float = 1.0,
    count: Count = "positives",
    box_count: Count | None = None,
) -> SoftTarget:
    """Varifocal loss (VFNet): positives weighted by the IoU that they should reach, negatives by `alpha` P^gamma.

    Args:
        alpha: weight of the negatives.
        gamma: focal exponent of the negatives.
        detach: keep P^gamma from carrying gradient (RT-DETR).
        box_weight, box_scale, class_scale, count, box_count: as of `SoftTarget`.
    """
    return SoftTarget(
        IoU(),
        "target",
        gamma,
        background_scale=alpha,
        detach=detach,
        class_scale=class_scale,
        box_weight=box_weight,
        box_scale=box_scale,
        count=count,
        box_count=box_count,
    )


@WEIGHTINGS.register("task_aligned")
def task_aligned(
    score_power: float = 1.0,
    iou_power: float = 6.0,
    gamma: float = 2.0,
    box_scale: float = 2.0,
    negatives: Literal["all", "matched", "with_targets"] = "all",
) -> SoftTarget:
    """TOOD's aligned quality: t = P^score_power IoU^iou_power, stretched per object to its best IoU.

    That of DDQ's dense queries too (arXiv 2303.12776), whose code has the negatives "with_targets".

    Args:
        score_power, iou_power: of the alignment.
        gamma: exponent of the modulation.
        box_scale, negatives: as of `SoftTarget`.
    """
    target = PerObject(Alignment(score_power, iou_power))
    settings = {"negatives": negatives, "box_weight": "target", "box_scale": box_scale, "count": "weights"}
    return SoftTarget(target, gamma=gamma, **settings)


@WEIGHTINGS.register("aligned_bce")
def aligned_bce(
    score_power: float = 0.5,
    iou_power: float = 6.0,
    class_scale: float = 0.5,
    box_scale: float = 7.5,
    overlap: Literal["iou", "ciou"] = "ciou",
) -> SoftTarget:
    """YOLOv8's: TOOD's targets, by the complete IoU, under plain binary cross entropy.

    Args:
        score_power, iou_power: of the alignment.
        overlap: "ciou", or "iou" as TOOD has it.
        class_scale, box_scale: as of `SoftTarget`.
    """
    target = PerObject(Alignment(score_power, iou_power, overlap=overlap), eps=1e-9, overlap=overlap)
    return SoftTarget(
        target, "none", 0.0, class_scale=class_scale, box_weight="target", box_scale=box_scale, count="weights"
    )


@WEIGHTINGS.register("soft_label")
def soft_label(gamma: float = 2.0, box_scale: float = 2.0) -> SoftTarget:
    """RTMDet's: quality focal loss and boxes weighted by the IoU, both by the sum of the IoUs.

    Args:
        gamma: exponent of the modulation.
        box_scale: as of `SoftTarget`.
    """
    return SoftTarget(IoU(), gamma=gamma, box_weight="target", box_scale=box_scale, count="weights")


@WEIGHTINGS.register("iou_bce")
def iou_bce(class_scale: float = 1.0, box_scale: float = 5.0) -> SoftTarget:
    """YOLOX's: classes are trained on matched samples only, by cross entropy with the IoU as the score to reach.

    Args:
        class_scale, box_scale: as of `SoftTarget`.
    """
    return SoftTarget(IoU(), "none", 0.0, negatives="matched", class_scale=class_scale, box_scale=box_scale)


@WEIGHTINGS.register("one_to_few")
def one_to_few(
    first: float = 0.6,
    last: float = 0.2,
    soft_scale: float = 0.4,
    background_scale: float = 0.75,
    box_weight: BoxWeight = "centerness",
    box_scale: float = 2.0,
    box_floor: float = 1e-6,
) -> SoftTarget:
    """One-to-few (o2f): an object's best sample is positive, its others by halves, less and less as the training goes on.

    Args:
        first, last: as of `OneAndFew`.
        soft_scale, background_scale, box_weight, box_scale, box_floor: as of `SoftTarget`.
    """
    return SoftTarget(
        OneAndFew(first, last),
        "none",
        soft_scale=soft_scale,
        background_scale=background_scale,
        box_weight=box_weight,
        box_scale=box_scale,
        box_floor=box_floor,
    )
