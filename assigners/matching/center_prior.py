"""Centre-prior matching: every point inside a box, of every level, graded by its distance from the box's centre.

The soft bag of AutoAssign (arXiv 2007.03496, eq. 6) and of DW (arXiv 2203.09730), with DW's constants as defaults.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from ..boxes import area, center
from ..checks import check_count
from ..registry import MATCHINGS
from ..structures import Matches, Predictions, Targets
from .pairs import inside_ignored, inside_pairs, keep_best_target, prior_boxes


@MATCHINGS.register("center_prior")
class CenterPrior(nn.Module):
    """All points strictly inside a box; the score is a Gaussian of the offset from its centre, in strides.

    Args:
        num_classes: C; mean and sigma are kept per class and axis, (C, 2).
        mean: initial offset of the best spot from the centre, strides.
        sigma: initial width, strides.
        learnable: let the loss train mean and sigma (DW keeps them fixed; its author found no use in learning them);
            not with a hard_threshold, which passes no gradient.
        hard_threshold: None keeps the soft score; a number makes it 1 above and 0 below, pairs with 0 stay in the bag
            (the original's option, 0.3).
        minimum_score: pairs that score less leave the bag altogether.
        exclusive: a point inside several boxes answers for all (None), for the smallest ("area") or for the one with
            the nearest centre ("center").
        chunk: compare with so many targets at a time, to bound memory in crowded images; None takes all at once.
        ignore_threshold: as everywhere; DW has no such rule, and data without ignore regions is not affected.

    Raises:
        ValueError: for a num_classes below 1, an unknown `exclusive`, a chunk below 1, or a hard prior that is to be learned.
    """

    cardinality = "one-to-many"
    needs = frozenset({"points", "strides"})
    per_class = ("mean", "sigma")  # with a row for each class, which `detassign convert` moves with its name

    def __init__(
        self,
        num_classes: int,
        mean: float = 0.0,
        sigma: float = 1.11,
        learnable: bool = False,
        hard_threshold: float | None = None,
        minimum_score: float = 0.0,
        exclusive: Literal["area", "center"] | None = None,
        chunk: int | None = None,
        ignore_threshold: float = 0.5,
    ) -> None:
        super().__init__()
        if num_classes is None:
            raise ValueError("num_classes: the centre prior is kept per class and needs their number, got None")
        check_count("num_classes", num_classes, 1)
        if exclusive not in (None, "area", "center"):
            raise ValueError(f'exclusive: expected None, "area" or "center", got {exclusive!r}')
        if chunk is not None and chunk < 1:
            raise ValueError(f"chunk: expected at least 1 target at a time or None, got {chunk}")
        if learnable and hard_threshold is not None:
            raise ValueError(f"learnable: expected False with a hard_threshold, got both (at {hard_threshold})")
        self.mean = nn.Parameter(torch.full((num_classes, 2), float(mean)), requires_grad=learnable)
        self.sigma = nn.Parameter(torch.full((num_classes, 2), float(sigma)), requires_grad=learnable)
        self.hard_threshold = hard_threshold
        self.minimum_score = minimum_score
        self.exclusive = exclusive
        self.chunk = chunk
        self.ignore_threshold = ignore_threshold

    @property
    def num_classes(self) -> int:
        """C."""
        return len(self.mean)

    @property
    def learnable(self) -> bool:
        """Whether the loss trains mean and sigma."""
        return self.mean.requires_grad

    def forward(self, predictions: Predictions, targets: Targets) -> Matches:
        image, sample, target = inside_pairs(predictions, targets, self.chunk)
        ignored = inside_ignored(prior_boxes(predictions, 1.0), targets, self.ignore_threshold)
        matches = Matches(image, sample, target, self._score(image, sample, target, predictions, targets), ignored)
        if self.minimum_score > 0:
            matches = matches.select(matches.score.detach() >= self.minimum_score)
        return matches if self.exclusive is None else self._one_target_per_point(matches, predictions, targets)

    def _score(
        self, image: Tensor, sample: Tensor, target: Tensor, predictions: Predictions, targets: Targets
    ) -> Tensor:
        boxes, labels = targets.boxes[image, target], targets.labels[image, target]
        offset = predictions.points_at(image, sample) - center(boxes)  # (P, 2)
        in_strides = offset / predictions.strides_at(image, sample)[:, None]
        score = center_prior(in_strides, self.mean[labels], self.sigma[labels])
        return score if self.hard_threshold is None else (score > self.hard_threshold).to(score.dtype)

    def _one_target_per_point(self, matches: Matches, predictions: Predictions, targets: Targets) -> Matches:
        boxes = matches.target_boxes(targets)
        if self.exclusive == "area":
            key = -area(boxes)
        else:
            offset = predictions.points_at(matches.image, matches.sample) - center(boxes)
            key = -offset.square().sum(-1)
        return keep_best_target(matches, key, predictions, targets)


def center_prior(offset: Tensor, mean: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian of offsets (..., 2) from the box centre, all in strides -> (...) in (0, 1].

    >>> center_prior(torch.zeros(1, 2), torch.zeros(1, 2), torch.full((1, 2), 1.11))
    tensor([1.])
    """
    return torch.exp(-((offset - mean) ** 2) / (2 * sigma**2)).prod(-1)
