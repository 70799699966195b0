"""PAA matching: the samples of each object whose losses belong to the better of two Gaussians.

Probabilistic anchor assignment (arXiv 2007.08103, sections 3.1-3.2); the four ways to separate are those of its figure 3.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..checks import check_choice, check_count
from ..distances import pair_distances
from ..needs import needs_of
from ..registry import BOX_LOSSES, MATCHINGS, SCORES
from ..structures import Matches, Predictions, Targets
from ..waits import waits_of
from .focal_losses import focal_losses
from .levels import level_groups
from .max_iou import MaxIoU
from .mixture import LOOKS, Mixture, fit_two_gaussians
from .pairs import settle_conflicts, with_ignored
from .top_k import rank_within

SEPARATIONS = ("a", "b", "c", "d")


@MATCHINGS.register("paa")
class PAA(nn.Module):
    """Of an object's candidates those up to the peak of the better component of their losses.

    Another matching says whose candidate a sample may be; of those, each object takes the k of least loss on each level.
    Two Gaussians are fitted to their losses, focal loss of the class plus distance of the boxes. A sample whose prediction
    is not a number is no candidate; candidates of equal loss are chosen together.

    Args:
        first: the matching that candidates come from; None is PAA's, anchors that overlap an object by 0.1, and the best of
            every object, which go to the object that they overlap most themselves.
        k: candidates per object and level.
        prior_scale: side, in strides, of the squares that are anchors to PAA's `first` where predictions have none.
        alpha, gamma: of the focal loss.
        box_scale: weight of the box distance in the loss; mmdet 1.3.
        box_loss: the box distance; a name, a dict or a callable.
        separation: "a" takes the better component whole; "b" up to its peak, and leaves out of the loss what lies before the
            other component's peak; "c" up to its peak (the published code); "d" likewise, and leaves the rest of the component
            out of the loss.
        strict: only members of the better component (mmdet), none where it is empty; else whatever has no greater loss than
            its peak, and all candidates where it is empty.
        single_candidate: whether an object's only candidate is "positive" or "negative" (mmdet).
        score: the score model that P comes from; an assigner offers its own, None is a sigmoid.
        num_classes: handed to `first` when it is given by name and is kept per class.

    Raises:
        ValueError: for an unknown choice, and a k below 1.
    """

    cardinality = "one-to-many"

    def __init__(
        self,
        first: Any = None,
        k: int = 9,
        prior_scale: float = 8.0,
        alpha: float = 0.25,
        gamma: float = 2.0,
        box_scale: float = 1.0,
        box_loss: Any = "giou",
        separation: Literal["a", "b", "c", "d"] = "c",
        strict: bool = False,
        single_candidate: Literal["positive", "negative"] = "positive",
        score: Any = None,
        num_classes: int | None = None,
    ) -> None:
        super().__init__()
        check_count("k", k, 1)
        check_choice("separation", separation, SEPARATIONS)
        check_choice("single_candidate", single_candidate, ("positive", "negative"))
        usual = MaxIoU(0.1, 0.1, conflict="own", prior_scale=prior_scale)
        self.first = usual if first is None else MATCHINGS.build(first, num_classes=num_classes)
        self.k = k
        self.alpha = alpha
        self.gamma = gamma
        self.box_scale = box_scale
        self.box_loss = BOX_LOSSES.build(box_loss)
        self.separation = separation
        self.strict = strict
        self.single_candidate = single_candidate
        self.score = SCORES.build("sigmoid" if score is None else score)

    @property
    def needs(self) -> frozenset[str]:
        """What the first matching, the box distance and the score model need, and levels."""
        return frozenset({"strides", "level_sizes"}) | needs_of(self.first, self.box_loss, self.score)

    @property
    def scale_invariant(self) -> bool:
        """Where the first matching and the box distance are."""
        return all(getattr(part, "scale_invariant", True) for part in (self.first, self.box_loss))

    @property
    def waits(self) -> int:
        """Those of the first matching, for candidates and for pairs, and where the fit asks whether it is done."""
        return waits_of(self.first) + 2 + len(LOOKS)

    @property
    def num_classes(self) -> int | None:
        """C of a first matching that is kept per class."""
        return getattr(self.first, "num_classes", None)

    @torch.no_grad()
    def forward(self, predictions: Predictions, targets: Targets) -> Matches:
        candidates, loss = self.candidates(predictions, targets)
        row, place = candidates.flat_target(targets), rank_within(candidates.flat_target(targets), -loss)
        mixture, usable = self.fit(row, place, loss, predictions, targets)
        better = usable & (mixture.component == 0)
        positive = self._positive(mixture, usable, better)[row, place]
        positive = _with_equals(positive, loss, row, len(usable))
        kept = candidates.select(settle_conflicts(candidates, positive, candidates.score, predictions, targets))
        silent = self._silent(mixture, usable, better)
        if silent is not None:
            candidates = _ignoring(candidates, silent[row, place], predictions)
        return with_ignored(kept, candidates.ignored)

    def candidates(self, predictions: Predictions, targets: Targets) -> tuple[Matches, Tensor]:
        """The pairs of least loss on each level, scored by exp(-loss), and their losses (P,)."""
        pairs = self.first(predictions, targets)
        loss = self.losses(pairs, predictions, targets)
        nearest = rank_within(level_groups(pairs, predictions, targets), -loss.nan_to_num(nan=torch.inf)) < self.k
        nearest = (nearest & loss.isfinite()).nonzero()[:, 0]
        pairs, loss = pairs.select(nearest), loss[nearest]
        return replace(pairs, score=(-loss).exp()), loss

    def losses(self, pairs: Matches, predictions: Predictions, targets: Targets) -> Tensor:
        """(P,) focal loss of each pair's sample over all classes plus the weighted distance of its box."""
        focal = focal_losses(self.score(predictions), pairs, targets, self.alpha, self.gamma)
        return focal + self.box_scale * pair_distances(self.box_loss, predictions, targets, pairs)

    def fit(
        self, row: Tensor, place: Tensor, loss: Tensor, predictions: Predictions, targets: Targets
    ) -> tuple[Mixture, Tensor]:
        """The mixtures of all targets of the batch, a row of rising losses for each, and which places are taken."""
        places = self.k * len(predictions.level_sizes or (1,))
        table = loss.new_zeros(targets.mask.numel(), places, dtype=torch.float64)
        usable = torch.zeros_like(table, dtype=torch.bool)
        table[row, place], usable[row, place] = loss.double(), True
        return fit_two_gaussians(table, usable), usable

    def _positive(self, mixture: Mixture, usable: Tensor, better: Tensor) -> Tensor:
        """(B * M, K) which of the losses, rising, are positive."""
        up_to_peak = _places(usable) <= _peak(mixture.log_density, better)
        if self.separation == "a":
            positive = better
        elif self.strict:
            positive = better & up_to_peak
        else:
            positive = usable & (up_to_peak | ~better.any(-1, keepdim=True))
        single = usable.sum(-1, keepdim=True) == 1
        return torch.where(single, usable & (self.single_candidate == "positive"), positive)

    def _silent(self, mixture: Mixture, usable: Tensor, better: Tensor) -> Tensor | None:
        """(B * M, K) which of the losses are left out unless they are positive; None where none are."""
        single = usable.sum(-1, keepdim=True) == 1
        if self.separation == "b":
            worse = usable & ~better
            before = _places(usable) < _peak(mixture.log_density, worse)
            return usable & (before | ~worse.any(-1, keepdim=True)) & ~single
        return better & ~single if self.separation == "d" else None


def _places(table: Tensor) -> Tensor:
    return torch.arange(table.shape[1], device=table.device)


def _with_equals(positive: Tensor, loss: Tensor, row: Tensor, rows: int) -> Tensor:
    """(P,) the `positive` candidates, and those of the same target that have the same loss as the last of them."""
    last = torch.where(positive, loss, -torch.inf)
    return positive | (loss == last.new_full((rows,), -torch.inf).scatter_reduce_(0, row, last, "amax")[row])


def _peak(density: Tensor, members: Tensor) -> Tensor:
    """(R, 1) place of the largest density (R, K) among the members (R, K), -1 where there are none."""
    place = density.masked_fill(~members, -torch.inf).argmax(-1, keepdim=True)
    return torch.where(members.any(-1, keepdim=True), place, -1)


def _ignoring(candidates: Matches, silent: Tensor, predictions: Predictions) -> Matches:
    """The candidates, those that are `silent` (P,) among the ignored."""
    left_out = torch.zeros(predictions.logits.shape[:2], dtype=torch.bool, device=silent.device)
    left_out.index_put_((candidates.image, candidates.sample), silent)
    ignored = left_out if candidates.ignored is None else candidates.ignored | left_out
    return replace(candidates, ignored=ignored)
