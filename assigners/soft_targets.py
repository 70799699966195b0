"""Soft targets: the score in [0, 1] that the class of each matched pair should reach.

Each is a callable (predictions, targets, matches, scores) -> (P,), without gradient; a prediction that is not a number
has target 0. What it needs of the predictions beyond logits and boxes it says in `needs`. Steps such as `PerObject`
take another soft target and change it.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from .boxes import OVERLAPS, giou, relative_giou
from .checks import check_choice
from .needs import needs_of
from .progress import Progress
from .quality import pair_boxes, predicted_iou
from .ranking import rank_within
from .registry import SOFT_TARGETS
from .scores import Scores
from .structures import Matches, Predictions, Targets


def matched_score(matches: Matches, targets: Targets, scores: Scores) -> Tensor:
    """(P,) P of each pair's sample for the class of its target, without gradient; 0 where it is not a number."""
    return scores.log_present(matches, matches.labels(targets)).detach().exp().nan_to_num(nan=0.0)


def largest_within(group: Tensor, values: Tensor, groups: int) -> Tensor:
    """(P,) the largest of `values` (P,), at least 0, among those of each one's group (P,)."""
    return values.new_zeros(groups).scatter_reduce(0, group, values, "amax")[group]


def largest_per_target(values: Tensor, matches: Matches, targets: Targets) -> Tensor:
    """(P,) the largest of `values` (P,), at least 0, among the pairs of each pair's target."""
    return largest_within(matches.flat_target(targets), values, targets.mask.numel())


def best_per_target(values: Tensor, otherwise: Tensor, matches: Matches, targets: Targets) -> Tensor:
    """(P,) bool, one pair of every target: that of the largest of `values` (P,), of equal ones of `otherwise` (P,)."""
    return rank_within(matches.flat_target(targets), values, otherwise) == 0


@SOFT_TARGETS.register("one")
class One:
    """1: a matched pair is positive and nothing else (focal loss)."""

    def __call__(self, predictions: Predictions, targets: Targets, matches: Matches, scores: Scores) -> Tensor:
        return predictions.logits.new_ones(matches.sample.shape)


@SOFT_TARGETS.register("iou")
class IoU:
    """IoU^power of predicted box and object: quality focal (arXiv 2006.04388) 1, MAL (DEIM, arXiv 2412.04234) 1.5.

    Args:
        power: the exponent.
        eps: added to the union of the boxes as shares of the image (detrex 1e-6); 0 measures them in pixels.
    """

    def __init__(self, power: float = 1.0, eps: float = 0.0) -> None:
        self.power = power
        self.eps = eps

    def __call__(self, predictions: Predictions, targets: Targets, matches: Matches, scores: Scores) -> Tensor:
        return predicted_iou(predictions, targets, matches, eps=self.eps) ** self.power


@SOFT_TARGETS.register("giou")
class GIoU:
    """(GIoU + 1) / 2 of predicted box and object (Rank-DETR, arXiv 2310.08854).

    Args:
        eps: added to union and hull of the boxes as shares of the image (Rank-DETR's code 1e-6); 0 measures them in pixels.
    """

    def __init__(self, eps: float = 0.0) -> None:
        self.eps = eps

    def __call__(self, predictions: Predictions, targets: Targets, matches: Matches, scores: Scores) -> Tensor:
        measure = partial(relative_giou, eps=self.eps) if self.eps else giou
        overlap = measure(*pair_boxes(predictions, targets, matches, shares=bool(self.eps)))
        return ((overlap + 1) / 2).nan_to_num(nan=0.0).clamp(0, 1)


@SOFT_TARGETS.register("alignment")
class Alignment:
    """P^score_power IoU^iou_power, at least `floor`: how well both tasks agree.

    TOOD (arXiv 2108.07755) has powers 1 and 6, YOLOv8 0.5 and 6 with the complete IoU, IA-BCE (Align-DETR, arXiv 2304.07527)
    0.25 and 0.75 with floor 0.01.

    Args:
        score_power, iou_power: the exponents.
        floor: least value.
        overlap: "iou", or "ciou" in its place.
        eps: as of `IoU`, which alone has one.

    Raises:
        ValueError: for another overlap, and for an eps with "ciou".
    """

    def __init__(
        self,
        score_power: float = 1.0,
        iou_power: float = 6.0,
        floor: float = 0.0,
        overlap: Literal["iou", "ciou"] = "iou",
        eps: float = 0.0,
    ) -> None:
        check_choice("overlap", overlap, tuple(OVERLAPS))
        if eps and overlap != "iou":
            raise ValueError(f"eps: expected 0 with the overlap {overlap!r}, which has one of its own, got {eps}")
        self.score_power = score_power
        self.iou_power = iou_power
        self.floor = floor
        self.overlap = overlap
        self.eps = eps

    def __call__(self, predictions: Predictions, targets: Targets, matches: Matches, scores: Scores) -> Tensor:
        score = matched_score(matches, targets, scores) ** self.score_power
        overlap = predicted_iou(predictions, targets, matches, self.overlap, self.eps)
        return (score * overlap**self.iou_power).clamp(min=self.floor)


class Step:
    """Base of the soft targets that change another one.

    Args:
        target: the other one; a name, a dict or a callable.
    """

    def __init__(self, target: Any) -> None:
        self.target = SOFT_TARGETS.build(target)

    @property
    def needs(self) -> frozenset[str]:
        """What the other one needs."""
        return needs_of(self.target)


@SOFT_TARGETS.register("per_object")
class PerObject(Step):
    """Another soft target, stretched so that every object's best pair reaches the object's best IoU (TOOD, eq. 4).

    Args:
        target: the soft target to stretch; a name, a dict or a callable.
        eps: added to the largest value that divides; TOOD 1e-7, YOLO 1e-9.
        overlap: what the best is measured by, "iou" or "ciou" (YOLO).

    Raises:
        ValueError: for another overlap.
    """

    def __init__(self, target: Any = "alignment", eps: float = 1e-7, overlap: Literal["iou", "ciou"] = "iou") -> None:
        check_choice("overlap", overlap, tuple(OVERLAPS))
        super().__init__(target)
        self.eps = eps
        self.overlap = overlap

    def __call__(self, predictions: Predictions, targets: Targets, matches: Matches, scores: Scores) -> Tensor:
        value = self.target(predictions, targets, matches, scores)
        overlap = predicted_iou(predictions, targets, matches, self.overlap)
        largest, best = (largest_per_target(each, matches, targets) for each in (value, overlap))
        return (value / (largest + self.eps) * best).clamp(max=1)


@SOFT_TARGETS.register("per_image")
class PerImage(Step):
    """Another soft target, stretched so that the best pair of every image reaches 1 (Stable-DINO, arXiv 2304.04742).

    Args:
        target: the soft target to stretch; a name, a dict or a callable.
        eps: added to the largest value, which divides.
    """

    def __init__(self, target: Any = "iou", eps: float = 1e-8) -> None:
        super().__init__(target)
        self.eps = eps

    def __call__(self, predictions: Predictions, targets: Targets, matches: Matches, scores: Scores) -> Tensor:
        value = self.target(predictions, targets, matches, scores)
        largest = largest_within(matches.image, value, len(predictions.logits))
        return (value / (largest + self.eps)).clamp(max=1)


@SOFT_TARGETS.register("one_and_few")
class OneAndFew(nn.Module):
    """1 for every object's best pair, and for its others P / (the largest P of the others) T.

    One-to-few (arXiv 2303.11567): T falls evenly while the training goes on, from `first` to `last`, so that the features
    learn from several samples and in the end one of them answers. Best is which has the largest P^0.2 IoU^0.8, of equal ones
    that of larger P. T follows every step here (`Progress`), the epochs in the original, which is done when the last begins.

    Args:
        first, last: T when the training starts and when it ends.

    Raises:
        ValueError: for a T that is not a share below 1.
    """

    def __init__(self, first: float = 0.6, last: float = 0.2) -> None:
        super().__init__()
        for name, value in (("first", first), ("last", last)):
            if not 0 <= value < 1:
                raise ValueError(f"{name}: expected a number from 0 to below 1, got {value}")
        self.first = first
        self.last = last
        self.rank_by = Alignment(0.2, 0.8)
        self.progress = Progress()

    @property
    def largest(self) -> float:
        """T now."""
        return self.first + (self.last - self.first) * self.progress.share

    def forward(self, predictions: Predictions, targets: Targets, matches: Matches, scores: Scores) -> Tensor:
        quality = self.rank_by(predictions, targets, matches, scores)
        probability = matched_score(matches, targets, scores)
        best = best_per_target(quality, probability, matches, targets)
        others = torch.where(best, 0, probability)
        largest = largest_per_target(others, matches, targets).clamp(min=torch.finfo(others.dtype).tiny)
        return torch.where(best, 1, others / largest * self.largest)
