"""RFLA: objects take the samples whose receptive fields are most like them (arXiv 2208.08738).

A sample's field is a square about its point, half as wide as the theoretical receptive field of its level. Every object takes
the k most similar ones; then fields shrink, and every object takes one more of the samples that are nobody's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import torch
from torch import Tensor

from ..boxes import center, sides, squares, strictly_inside
from ..checks import check_choice, check_count, check_positive
from ..registry import MATCHINGS, SIMILARITIES
from ..structures import Matches, Predictions, Targets
from .pairs import Conflict, prior_boxes, prior_boxes_at
from .ranking import Ranking, Ties, beside_undecided

RESNET50_FIELDS = (35.0, 91.0, 267.0, 427.0, 555.0, 811.0)
"""Theoretical receptive fields, pixels, of the levels of stride 4 to 128 of a pyramid on ResNet-50, as RFLA's code has them."""


@MATCHINGS.register("receptive_field")
class ReceptiveField:
    """Hierarchical matching by the similarity of receptive fields and objects.

    RFLA's code joins equal values and lets the last object of the list have a sample that several take (`ties="join"`,
    `conflict="last"`); and it shrinks the caller's fields, so those of an image are the smaller, the more images with objects
    come before it in the batch (`carry_over=True`).

    Args:
        metric: similarity of an object and a field, "kl", "wd", "kl_10", "exp_kl" or any other of `SIMILARITIES`.
        k: samples of every object in the first step; AI-TOD 3, AutoAssign 4, DOTA-v2 6 (FCOS) or 2 (Faster R-CNN).
        shrunk_k: of the second step.
        shrink: by what fields are multiplied before the second step.
        fields: theoretical receptive field of each level, pixels; None takes those of ResNet-50 for the level's stride. Where
            predictions have prior boxes (anchors, queries), these are the fields.
        fraction: share of the theoretical receptive field that counts.
        inside: leave out the pairs whose point is not strictly inside the object (off in every published configuration).
        ignore_above: samples without an object whose shrunk field is as similar to one as this are not pushed down, 0.8 under
            the original's anchor heads; None pushes all down, as its FCOS head does.
        ties, conflict, ignore_threshold: as of `Ranking`.
        carry_over: see above.

    Raises:
        ValueError: for an unknown choice, numbers of samples below 1, a shrink or fraction that is not positive, and
            on call for another number of fields than of levels.
    """

    cardinality = "one-to-many"
    scale_invariant = False  # fields are of a network, in pixels
    moves_others = True  # an object may take samples outside its box, also from another that is less similar to them

    def __init__(
        self,
        metric: Any = "kl",
        k: int = 3,
        shrunk_k: int = 1,
        shrink: float = 0.9,
        fields: Sequence[float] | None = None,
        fraction: float = 0.5,
        inside: bool = False,
        ignore_above: float | None = None,
        ties: Ties = "rank",
        conflict: Conflict = "best",
        ignore_threshold: float = 0.5,
        carry_over: bool = False,
    ) -> None:
        check_count("k", k, 1)
        check_count("shrunk_k", shrunk_k, 1)
        check_choice("ties", ties, get_args(Ties))
        check_choice("conflict", conflict, get_args(Conflict))
        check_positive("shrink", shrink)
        check_positive("fraction", fraction)
        self.metric = SIMILARITIES.build(metric)
        self.k = k
        self.shrunk_k = shrunk_k
        self.shrink = shrink
        self.fields = None if fields is None else tuple(fields)
        self.fraction = fraction
        self.inside = inside
        self.ignore_above = ignore_above
        self.ties: Ties = ties
        self.conflict: Conflict = conflict
        self.ignore_threshold = ignore_threshold
        self.carry_over = carry_over

    @property
    def first(self) -> Ranking:
        """The first step."""
        return Ranking(self.metric, self.k, ties=self.ties, conflict=self.conflict)

    @property
    def second(self) -> Ranking:
        """The second step, of shrunk fields."""
        return Ranking(self.metric, self.shrunk_k, ties=self.ties, conflict=self.conflict)

    @property
    def needs(self) -> frozenset[str]:
        """Points and strides, and levels where each has its own field."""
        return frozenset({"points", "strides"} if self.fields is None else {"points", "strides", "level_sizes"})

    def __call__(self, predictions: Predictions, targets: Targets) -> Matches:
        fields = self.fields_of(predictions)
        if self.carry_over:
            fields = resized(fields, self.shrink ** _images_before(targets)[:, None, None])
        first, stays, _ = self.first.candidates(fields, predictions, targets)
        second, others, highest = self.second.candidates(resized(fields, self.shrink), predictions, targets)
        others &= ~_taken(first, stays, highest)[second.image, second.sample]
        matches, stays = first.followed_by(second), torch.cat([stays, others])
        if self.inside:
            centers = center(prior_boxes_at(fields, matches.image, matches.sample))
            stays &= strictly_inside(centers, matches.target_boxes(targets))
        matches = matches.select(stays)
        return beside_undecided(matches, highest, self.ignore_above, self.ignore_threshold, predictions, targets)

    def fields_of(self, predictions: Predictions) -> Tensor:
        """(1 or B, N, 4) xyxy, pixels, the fields of all samples."""
        if predictions.priors is not None:
            return prior_boxes(predictions, 1.0)
        strides = predictions.all_strides
        widths = usual_fields(strides) if self.fields is None else _of_levels(self.fields, predictions)
        return squares(predictions.all_points, self.fraction * widths)


def _of_levels(fields: Sequence[float], predictions: Predictions) -> Tensor:
    """(1, N) theoretical receptive field of each sample, from one per level."""
    sizes, points = predictions.level_sizes or (), predictions.all_points
    if len(fields) != len(sizes):
        raise ValueError(f"fields: expected one per level ({len(sizes)}), got {len(fields)}")
    return torch.cat([points.new_full((1, size), width) for width, size in zip(fields, sizes, strict=True)], 1)


def usual_fields(strides: Tensor) -> Tensor:
    """Theoretical receptive fields, pixels, of a pyramid on ResNet-50 for strides (...).

    A stride that such a pyramid does not have takes the field of its nearest, in proportion.

    >>> usual_fields(torch.tensor([4.0, 8.0, 10.0]))
    tensor([ 35.0000,  91.0000, 113.7500])
    """
    level = (strides / 4).log2().round().clamp(0, len(RESNET50_FIELDS) - 1)
    widths = torch.zeros_like(strides)
    for place, width in enumerate(RESNET50_FIELDS):  # a table would have to be sent to the device
        widths = torch.where(level == place, width, widths)
    return widths * strides / (4 * 2**level)


def resized(boxes: Tensor, factor: float | Tensor) -> Tensor:
    """Boxes (..., 4) whose sides are `factor` times as long, about the same centres."""
    middle, half = center(boxes), sides(boxes) * factor / 2
    return torch.cat([middle - half, middle + half], -1)


def _images_before(targets: Targets) -> Tensor:
    """(B,) how many images with objects come before each."""
    there = targets.mask.any(1).long()
    return there.cumsum(0) - there


def _taken(pairs: Matches, stays: Tensor, like: Tensor) -> Tensor:
    """(B, N) bool as `like`, whether a sample is in one of the pairs that stay (P,)."""
    counts = torch.zeros_like(like, dtype=torch.long)
    return counts.index_put_((pairs.image, pairs.sample), stays.long(), accumulate=True) > 0
