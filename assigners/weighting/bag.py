"""Bags: an object is answered for by all of its samples together, and the loss lets them settle who learns it.

A pair has the likelihood q = P exp(-distance_scale d), its class and its box at once. An aggregator makes one likelihood of
those of an object's pairs, and the loss is −log of that, in the place of the sums over pairs of class and box. A sample is
pushed down by x^gamma (−log(1 − x)) with x = P (1 − h), h what a discount spares because the sample's box fits an object: in
the language of weights w⁻ = x^gamma log(1 − x) / log(1 − P).

| | AutoAssign (`bag`) | FreeAnchor (`mean_max_bag`) |
|---|---|---|
| aggregator | mean of q under e^(3q) prior | mean of q under 1 / (1 − q) |
| distance | 5 (1 − GIoU) | 0.75 smooth L1 of deltas |
| discount | 1 / (1 − IoU), stretched per object | ramp from IoU 0.6 to the object's best |
| classes and boxes by | objects | objects |
| negatives by | sum of the prior | pairs |

Both multiply the discount into the probability, before the log; DW multiplies the loss (`Dual`).
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from ..checks import check_choice
from ..distances import pair_distances
from ..needs import needs_of
from ..normalizers import normalizers
from ..pushes import Entries, Focal, power
from ..registry import AGGREGATORS, BOX_LOSSES, DISCOUNTS, WEIGHTINGS
from ..scores import Scores, probability_of
from ..structures import Assignment, Matches, Predictions, Targets
from .common import count_positives, count_targets, countable, group_sum

REDUCTIONS = {"min": "amax", "max": "amin", "mean": "mean"}  # of the weight 1 − h, as of h
LEAST_LOG = -1e9  # of a likelihood: finite, and nothing next to any other


@WEIGHTINGS.register("bag")
class Bag:
    """Every object learns as one bag; see above. The defaults are AutoAssign's (arXiv 2007.03496, eq. 4-11).

    w⁺ and w° are the pairs' shares of their object, for pictures and statistics: the loss is made of the bags.

    Args:
        aggregator: how likelihoods become one; a name, a dict or a callable of `AGGREGATORS`.
        distance: d of a box from its object; likewise of `BOX_LOSSES`.
        distance_scale: see q.
        discount: h; likewise of `DISCOUNTS`.
        gamma: focal exponent of the negatives.
        conflict: the weight 1 − h of a sample and class that several objects claim: "min" (default), "max", "mean",
            independent of the order of objects; "last" lets the last object win, as AutoAssign's code does.
        positive_scale, negative_scale: weights of the two terms.
        negatives_by: negatives are divided by the sum of the matching's "scores" over all pairs, or the number of "pairs".
        negative_floor: least value of that divisor.
        center_scale: weight of `loss_center`, objects by the sum of their pairs' scores, mean over images: it keeps a
            learned centre prior from shrinking; 0 is without.
        least_score: the mean of that sum per object counts as no less, and then has no gradient; 0 lets the term explode
            where a prior misses its objects, as the original does.
        missing: −log likelihood of an object without pairs, a constant that teaches nothing: AutoAssign's code counts 100.

    Raises:
        ValueError: for an unknown choice.
    """

    def __init__(
        self,
        aggregator: Any = "exponential",
        distance: Any = "giou",
        distance_scale: float = 5.0,
        discount: Any = "relative_fit",
        gamma: float = 2.0,
        conflict: Literal["min", "max", "mean", "last"] = "min",
        positive_scale: float = 0.25,
        negative_scale: float = 0.75,
        negatives_by: Literal["scores", "pairs"] = "scores",
        negative_floor: float = 1.0,
        center_scale: float = 0.75,
        least_score: float = 0.1,
        missing: float = 0.0,
    ) -> None:
        check_choice("conflict", conflict, (*REDUCTIONS, "last"))
        check_choice("negatives_by", negatives_by, ("scores", "pairs"))
        self.aggregator = AGGREGATORS.build(aggregator)
        self.distance = BOX_LOSSES.build(distance)
        self.distance_scale = distance_scale
        self.discount = DISCOUNTS.build(discount)
        self.gamma = gamma
        self.conflict = conflict
        self.positive_scale = positive_scale
        self.negative_scale = negative_scale
        self.negatives_by = negatives_by
        self.negative_floor = negative_floor
        self.center_scale = center_scale
        self.least_score = least_score
        self.missing = missing

    @property
    def needs(self) -> frozenset[str]:
        """What the distance and the discount need of the predictions."""
        return needs_of(self.distance, self.discount)

    @property
    def scale_invariant(self) -> bool:
        return getattr(self.distance, "scale_invariant", True)

    @property
    def kind(self) -> tuple[Any, ...]:
        """What makes one weighting of bags another than the next, whatever their constants."""
        return Bag, type(self.aggregator), type(self.discount)

    def __call__(self, predictions: Predictions, targets: Targets, matches: Matches, scores: Scores) -> Assignment:
        bags, share = self._bags(predictions, targets, matches, scores)
        negative, spared = self._negative(predictions, targets, matches, scores)
        count = count_targets(targets, predictions)
        divisor = group_sum(matches.score.detach(), matches.image, predictions)
        if self.negatives_by == "pairs":
            divisor = count_positives(matches, predictions, floor_per_image=False)
        return Assignment(
            matches,
            self.positive_scale * share,
            negative,
            self.positive_scale * self.distance_scale * share,
            normalizers(count, divisor, count, floor=(1.0, self.negative_floor, 1.0)),
            bag=self.positive_scale * bags,
            further=self._center(predictions, targets, matches) if self.center_scale else {},
            details={"share": share, "bag": bags, "spared": spared},
        )

    def _bags(
        self, predictions: Predictions, targets: Targets, matches: Matches, scores: Scores
    ) -> tuple[Tensor, Tensor]:
        """−log likelihood (B, M) of every object's bag, and the share (P,) of its pairs, without gradient."""
        log_score = scores.log_present(matches, matches.labels(targets))
        distance = pair_distances(self.distance, predictions, targets, matches).clamp(min=0)  # GIoU rounds beyond 1
        log_likelihood = (log_score - self.distance_scale * distance).clamp(min=LEAST_LOG)
        group, groups = matches.flat_target(targets), targets.mask.numel()
        bags, part = self.aggregator(log_likelihood, matches.score, group, groups)
        bags = bags.view(targets.mask.shape)
        if self.missing:
            held = torch.zeros_like(targets.mask).view(-1).index_fill(0, group, True).view_as(targets.mask)
            bags = torch.where(targets.mask & ~held, self.missing, bags)
        return bags, softmax_within(part.detach(), group, groups)

    def _negative(
        self, predictions: Predictions, targets: Targets, matches: Matches, scores: Scores
    ) -> tuple[Focal, Tensor]:
        """w⁻, and h of the pairs that the discount spares."""
        spared = self.discount(predictions, targets, matches)
        entries = Entries.of(spared, targets, scores)
        weight, log_absent = 1 - self._settled(spared, entries), entries.log_absent
        at_entry = weight * probability_of(log_absent)
        complement = log_complement(weight, scores.log_present(spared, entries.index[2]), at_entry, log_absent)
        pushed = self.negative_scale * power(at_entry, self.gamma) * log_ratio(complement, log_absent, weight)
        keep = countable(predictions, matches)
        return Focal.around(entries, pushed, scores, self.negative_scale, self.gamma, keep), spared.score

    def _settled(self, spared: Matches, entries: Entries) -> Tensor:
        """(Q,) h of each spared pair's sample and class, one value for all pairs that share them."""
        if self.conflict == "last":
            return entries.last(spared.score, spared.target)
        return entries.settled(spared.score, REDUCTIONS[self.conflict])

    def _center(self, predictions: Predictions, targets: Targets, matches: Matches) -> dict[str, Tensor]:
        images = len(predictions.logits)
        total = matches.score.new_zeros(images).index_add(0, matches.image, matches.score)
        held = matches.score.new_zeros(images).index_fill(0, matches.image, 1.0)
        objects = targets.mask.sum(1) * held
        ratio = objects / torch.maximum(total, self.least_score * objects).clamp(min=1e-12)
        per_group = images // (predictions.groups or 1)
        return {"loss_center": self.center_scale * group_sum(ratio, None, predictions) / per_group}


@WEIGHTINGS.register("mean_max_bag")
def mean_max_bag(
    threshold: float = 0.6,
    distance: Any = "delta",
    distance_scale: float = 0.75,
    alpha: float = 0.5,
    gamma: float = 2.0,
    negative_floor: float = 50.0,
) -> Bag:
    """FreeAnchor's bags: mean-max of the likelihoods, negatives spared along a ramp of IoU, no centre term.

    Args:
        threshold: the IoU at which the ramp starts.
        distance, distance_scale, gamma: as of `Bag`.
        alpha: share of the positives, 1 − alpha that of the negatives.
        negative_floor: least number of pairs that negatives are divided by; FreeAnchor's 1 makes a batch without objects
            weigh as much as fifty pairs do elsewhere.
    """
    return Bag(
        "mean_max",
        distance,
        distance_scale,
        {"type": "ramp", "threshold": threshold},
        gamma,
        positive_scale=alpha,
        negative_scale=1 - alpha,
        negatives_by="pairs",
        negative_floor=negative_floor,
        center_scale=0.0,
    )


def softmax_within(values: Tensor, group: Tensor, groups: int) -> Tensor:
    """Softmax of values (P,) within their group (P,); one that is not a number has no part.

    >>> softmax_within(torch.tensor([1.0, 1.0, 5.0, torch.nan]), torch.tensor([0, 0, 1, 1]), 2)
    tensor([0.5000, 0.5000, 1.0000, 0.0000])
    """
    values = values.nan_to_num(nan=-torch.inf, posinf=torch.finfo(values.dtype).max, neginf=-torch.inf)
    largest = values.new_zeros(groups).scatter_reduce(0, group, values, "amax", include_self=False)
    raised = (values - largest.nan_to_num(neginf=0.0)[group]).exp()
    total = values.new_zeros(groups).index_add(0, group, raised)
    return raised / total.clamp(min=torch.finfo(values.dtype).tiny)[group]


def log_complement(weight: Tensor, log_present: Tensor, product: Tensor, log_absent: Tensor) -> Tensor:
    """log(1 − w P) from w (without gradient), log P, w P and log(1 − P): exact where P is small and where it is near 1."""
    small = product < 0.5
    near_zero = torch.log1p(-torch.where(small, product, 0.0))
    return torch.where(small, near_zero, torch.logaddexp(log_absent, log_present + (1 - weight).log()))


def log_ratio(log_complement: Tensor, log_absent: Tensor, weight: Tensor) -> Tensor:
    """log(1 − w P) / log(1 − P), which for small P is w; 0 where P is 1 or not a number."""
    near_zero = ~(log_absent < -1e-6)
    ratio = torch.where(near_zero, weight, log_complement / torch.where(near_zero, -1.0, log_absent))
    return torch.where(log_absent.isfinite(), ratio, 0.0)
