"""Dual weighting (DW): a positive and a negative weight for every candidate, chosen independently.

"A Dual Weighting Label Assignment Scheme for Object Detection" (arXiv 2203.09730). `Dual` is by default the published
code's form, `dual_paper` the paper's. Where they differ (code | paper):

- the positive weight's exponent is 5 above and 3 below the fraction bar, so a target's weights add up to more than one
  and positives gain on negatives | 5 and 5;
- the localisation score is exp(-5 (1 - GIoU)) | IoU^5;
- a target's best candidate is never pushed down, whatever its IoU (its negative weights are stretched to reach zero)
  | fixed end points, 1 at IoU 0.5 and 0 at 0.95.

Stretching needs two candidates that differ: a target with only one, or with equal IoUs, has them pushed down in full, as in
the published code. The paper's form, or `iou_high`, has no such exception.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from ..needs import needs_of
from ..normalizers import normalizers
from ..pushes import Entries, Focal, power
from ..quality import predicted_iou
from ..registry import QUALITIES, WEIGHTINGS
from ..scores import Scores, probability_of
from ..structures import Assignment, Matches, Predictions, Targets
from .common import count_targets, countable, group_sum

CONFLICTS = {"min": "amin", "max": "amax", "mean": "mean"}
TINY = 1e-12  # keeps fractions defined, as in the original


@WEIGHTINGS.register("dual")
class Dual:
    """DW's two weights.

    For a pair with class score s, localisation quality l and centre prior c, t = s l and

        w⁺ = exp(mu_weight t) t c / sum over the target's pairs of exp(mu_norm t) t c        (paper eq. 6-7)
        w⁻ = P_neg s^gamma, P_neg falling from 1 at IoU <= iou_low to 0                      (paper eq. 8-10)

    and w⁻ = s^gamma for everything else. t and P_neg carry no gradient; the factor s^gamma, a focal factor, does, and
    so does the centre prior if it is learnable. A class that several overlapping targets want from one sample gets one
    P_neg.

    Args:
        mu_weight, mu_norm: exponents above and below the fraction bar of w⁺.
        iou_exponent: P_neg falls with IoU to this power.
        iou_low: below this IoU P_neg is 1.
        iou_high: P_neg is 0 from this IoU on; None stretches each target's values so that its best pair has 0.
        gamma: focal exponent on the score in w⁻.
        quality: localisation quality l; a name, a dict or a callable.
        conflict: P_neg of a sample and class that several targets claim: "min" (default), "max", "mean", independent
            of the order of targets; "last" lets the last target win, as the original code does on one thread.
        positive_scale, negative_scale, box_scale: weights of the three terms; the original's 0.25, 1 and 0.25 * 5.
    """

    def __init__(
        self,
        mu_weight: float = 5.0,
        mu_norm: float = 3.0,
        iou_exponent: float = 2.0,
        iou_low: float = 0.5,
        iou_high: float | None = None,
        gamma: float = 2.0,
        quality: Any = "exp_giou",
        conflict: Literal["min", "max", "mean", "last"] = "min",
        positive_scale: float = 0.25,
        negative_scale: float = 1.0,
        box_scale: float = 1.25,
    ) -> None:
        if conflict not in (*CONFLICTS, "last"):
            raise ValueError(f"conflict: expected min, max, mean or last, got {conflict!r}")
        if not 0 <= iou_low < (1 if iou_high is None else iou_high) <= 1:
            raise ValueError(
                f"iou_low and iou_high: expected 0 <= iou_low < iou_high <= 1, got {iou_low} and {iou_high}"
            )
        self.mu_weight = mu_weight
        self.mu_norm = mu_norm
        self.iou_exponent = iou_exponent
        self.iou_low = iou_low
        self.iou_high = iou_high
        self.gamma = gamma
        self.quality = QUALITIES.build(quality)
        self.conflict = conflict
        self.positive_scale = positive_scale
        self.negative_scale = negative_scale
        self.box_scale = box_scale

    @property
    def needs(self) -> frozenset[str]:
        """What the localisation quality needs of the predictions."""
        return needs_of(self.quality)

    def __call__(self, predictions: Predictions, targets: Targets, matches: Matches, scores: Scores) -> Assignment:
        labels = matches.labels(targets)
        score = scores.log_present(matches, labels).detach().exp()
        fit = (score * self.quality(predictions, targets, matches)).nan_to_num(nan=0.0)  # t of the paper
        weight = self._positive(fit, matches, targets)

        overlap = predicted_iou(predictions, targets, matches)
        punishment = self._punishment(overlap, matches, targets)  # P_neg per pair
        entries = Entries.of(matches, targets, scores)
        settled = self._settled(punishment, matches, entries)  # one P_neg for a sample and class
        pushed = self.negative_scale * settled * power(probability_of(entries.log_absent), self.gamma)
        keep = countable(predictions, matches)
        negative = Focal.around(entries, pushed, scores, self.negative_scale, self.gamma, keep)

        count = count_targets(targets, predictions)
        norm = normalizers(count, group_sum((1 - settled) * entries.once, matches.image, predictions), count)
        share = punishment.new_ones(scores.shape).index_put_(entries.index, settled)
        return Assignment(
            matches,
            self.positive_scale * weight,
            negative,
            self.box_scale * weight,
            norm,
            details={"fit": fit, "iou": overlap, "weight": weight, "punishment": punishment, "negative_share": share},
        )

    def _positive(self, fit: Tensor, matches: Matches, targets: Targets) -> Tensor:
        """(P,) w⁺ of each pair."""
        group = matches.flat_target(targets)
        total = fit.new_zeros(targets.mask.numel())
        total = total.index_add(0, group, torch.exp(self.mu_norm * fit) * fit * matches.score)
        return torch.exp(self.mu_weight * fit) * fit * matches.score / total.clamp(min=TINY)[group]

    def _punishment(self, overlap: Tensor, matches: Matches, targets: Targets) -> Tensor:
        """(P,) P_neg of each pair: 1 up to iou_low, then falling to 0 at iou_high or at the target's best pair."""
        power = self.iou_exponent
        high = 1.0 if self.iou_high is None else self.iou_high
        falling = (high**power - overlap**power) / (high**power - self.iou_low**power)
        if self.iou_high is None:
            falling = _stretch(falling, matches.flat_target(targets), targets.mask.numel())
        return torch.where(overlap < self.iou_low, 1.0, falling.clamp(0, 1))

    def _settled(self, punishment: Tensor, matches: Matches, entries: Entries) -> Tensor:
        """(P,) one P_neg where several targets of a class claim a sample."""
        if self.conflict == "last":  # by construction and not by the luck of parallel writes
            return entries.last(punishment, matches.target)
        return entries.settled(punishment, CONFLICTS[self.conflict])


@WEIGHTINGS.register("dual_paper")
def dual_paper(
    mu_weight: float = 5.0,
    mu_norm: float = 5.0,
    iou_exponent: float = 2.0,
    iou_low: float = 0.5,
    iou_high: float | None = 0.95,
    gamma: float = 2.0,
    quality: Any = "power_iou",
    conflict: Literal["min", "max", "mean", "last"] = "min",
    positive_scale: float = 1.0,
    negative_scale: float = 1.0,
    box_scale: float = 2.0,
) -> Dual:
    """The paper's form of `Dual`: equal exponents, IoU^5, fixed end points, unit positive weight, box weight 2."""
    return Dual(**locals())


def _stretch(values: Tensor, group: Tensor, groups: int) -> Tensor:
    """Map each group's values (P,) linearly: its lowest becomes 0 and its highest, at most 1, becomes 1."""
    low = values.new_zeros(groups).scatter_reduce(0, group, values, "amin", include_self=False)[group]
    high = values.new_zeros(groups).scatter_reduce(0, group, values, "amax", include_self=False)[group].clamp(max=1)
    return (values - low + TINY) / (high - low + TINY)
