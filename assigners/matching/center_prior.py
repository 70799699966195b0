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
from .pairs import PAIRS_AT_ONCE, inside_ignored, inside_pairs, keep_best_target, prior_boxes


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
        guarantee: an object without a point inside takes so many points of the highest score, wherever they are; 0 leaves it
            without any, as DW does (AutoAssign's `force_topk` takes 9).
        chunk: compare with so many targets at a time, to bound memory in crowded images; None takes all at once.
        ignore_threshold: as everywhere; DW has no such rule, and data without ignore regions is not affected.

    Raises:
        ValueError: for a num_classes or chunk below 1, an unknown `exclusive`, a negative `guarantee`, or a hard prior that is
            to be learned.
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
        guarantee: int = 0,
        chunk: int | None = None,
        ignore_threshold: float = 0.5,
    ) -> None:
        super().__init__()
        if num_classes is None:
            raise ValueError("num_classes: the centre prior is kept per class and needs their number, got None")
        check_count("num_classes", num_classes, 1)
        if exclusive not in (None, "area", "center"):
            raise ValueError(f'exclusive: expected None, "area" or "center", got {exclusive!r}')
        check_count("guarantee", guarantee, 0)
        if chunk is not None and chunk < 1:
            raise ValueError(f"chunk: expected at least 1 target at a time or None, got {chunk}")
        if learnable and hard_threshold is not None:
            raise ValueError(f"learnable: expected False with a hard_threshold, got both (at {hard_threshold})")
        self.mean = nn.Parameter(torch.full((num_classes, 2), float(mean)), requires_grad=learnable)
        self.sigma = nn.Parameter(torch.full((num_classes, 2), float(sigma)), requires_grad=learnable)
        self.hard_threshold = hard_threshold
        self.minimum_score = minimum_score
        self.exclusive = exclusive
        self.guarantee = guarantee
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
        image, sample, target = self._pairs(predictions, targets)
        ignored = inside_ignored(prior_boxes(predictions, 1.0), targets, self.ignore_threshold)
        matches = Matches(image, sample, target, self._score(image, sample, target, predictions, targets), ignored)
        if self.minimum_score > 0:
            matches = matches.select(matches.score.detach() >= self.minimum_score)
        return matches if self.exclusive is None else self._one_target_per_point(matches, predictions, targets)

    def _pairs(self, predictions: Predictions, targets: Targets) -> tuple[Tensor, Tensor, Tensor]:
        """Image, sample and target (P,): the points inside, then those of objects that have none."""
        inside = inside_pairs(predictions, targets, self.chunk)
        if not self.guarantee:
            return inside
        bare = targets.mask.clone()
        bare[inside[0], inside[2]] = False
        nearest = self._nearest(bare, predictions, targets)
        image, sample, target = (torch.cat(parts) for parts in zip(inside, nearest, strict=True))
        return image, sample, target

    @torch.no_grad()
    def _nearest(self, bare: Tensor, predictions: Predictions, targets: Targets) -> tuple[Tensor, Tensor, Tensor]:
        """Image, sample and target of the samples of highest score of the targets that `bare` (B, M) marks."""
        image, target = bare.nonzero(as_tuple=True)
        samples = predictions.logits.shape[1]
        k = min(self.guarantee, samples)
        parts = [image.new_zeros(0, k)]
        every = torch.arange(samples, device=image.device)
        for part in torch.arange(len(image), device=image.device).split(max(PAIRS_AT_ONCE // max(samples, 1), 1)):
            at = image[part, None], every[None], target[part, None]
            log_score = -self._distance(*at, predictions, targets)
            if predictions.valid is not None:
                log_score = log_score.masked_fill(~predictions.valid[image[part]], -torch.inf)
            parts.append(log_score.topk(k).indices.sort().values)
        nearest = torch.cat(parts)
        image, sample, target = image.repeat_interleave(k), nearest.flatten(), target.repeat_interleave(k)
        if predictions.valid is None:
            return image, sample, target
        kept = predictions.valid[image, sample]
        return image[kept], sample[kept], target[kept]

    def _distance(
        self, image: Tensor, sample: Tensor, target: Tensor, predictions: Predictions, targets: Targets
    ) -> Tensor:
        """Half the squared distance of points from the prior's best spot, in sigmas: −log of its score."""
        offset, labels = self._offset(image, sample, target, predictions, targets), targets.labels[image, target]
        return ((offset - self.mean[labels]) / self.sigma[labels]).square().sum(-1) / 2

    def _offset(
        self, image: Tensor, sample: Tensor, target: Tensor, predictions: Predictions, targets: Targets
    ) -> Tensor:
        """(..., 2) of points from the centres of boxes, in strides."""
        offset = predictions.points_at(image, sample) - center(targets.boxes[image, target])
        return offset / predictions.strides_at(image, sample)[..., None]

    def _score(
        self, image: Tensor, sample: Tensor, target: Tensor, predictions: Predictions, targets: Targets
    ) -> Tensor:
        in_strides, labels = self._offset(image, sample, target, predictions, targets), targets.labels[image, target]
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
