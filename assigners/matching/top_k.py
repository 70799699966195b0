"""Top-k bag: of what another matching allows, each target keeps its k best samples."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ..boxes import center
from ..ranking import rank_within
from ..registry import MATCHINGS
from ..structures import Matches, Predictions, Targets
from .pairs import prior_boxes_at
from .wrapping import Wrapping


@MATCHINGS.register("top_k")
class TopK(Wrapping):
    """Keep, per target, the k pairs that another matching scores highest.

    Everything after the matching is computed for the kept pairs only, at most k * M of them, so the bag bounds cost and
    memory; with k no smaller than the largest bag the result is the other matching's, exactly. The candidate bag of the
    DW paper's ablation (arXiv 2203.09730, section 4) is `TopK(CenterPrior(C), k)`. Of equal scores the lower sample
    index stays.

    Args:
        matching: a matching, its name, or a dict with its "type" and arguments; the centre prior unless told.
        k: pairs to keep per target.
        num_classes: handed to the inner matching when it is given by name and is kept per class.

    Raises:
        ValueError: when k is not positive.
    """

    further_waits = 1  # for the pairs that are kept

    def __init__(self, matching: Any = "center_prior", k: int = 9, num_classes: int | None = None) -> None:
        super().__init__()
        if k < 1:
            raise ValueError(f"k: expected at least 1, got {k}")
        self.matching = MATCHINGS.build(matching, num_classes=num_classes)
        self.k = k

    def forward(self, predictions: Predictions, targets: Targets) -> Matches:
        matches = self.matching(predictions, targets)
        rank = rank_within(matches.flat_target(targets), matches.score.detach())
        return matches.select(rank < self.k)


def nearest_of_best(pairs: Matches, k: int, priors: Tensor, targets: Targets) -> Tensor:
    """(P,) which pairs are the k best of their target, of equal ones those with the nearest priors (1 or B, N, 4)."""
    return rank_nearest_first(pairs, priors, targets) < k


def rank_nearest_first(pairs: Matches, priors: Tensor, targets: Targets) -> Tensor:
    """(P,) the place of each pair among its target's by falling score, of equal ones the nearest prior (1 or B, N, 4) first."""
    offset = center(prior_boxes_at(priors, pairs.image, pairs.sample)) - center(pairs.target_boxes(targets))
    return rank_within(pairs.flat_target(targets), pairs.score, -offset.square().sum(-1))
