"""One-to-few: every object takes the few samples near its centre that classify and fit it best (arXiv 2303.11567)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from ..checks import check_count, check_share
from ..ranking import rank_within
from ..registry import MATCHINGS, SCORES
from ..soft_targets import Alignment
from ..structures import Matches, Predictions, Targets
from .pairs import inside_ignored, near_candidates, prior_boxes, settle_conflicts, with_ignored


@MATCHINGS.register("one_to_few")
class OneToFew:
    """Every object's k samples of largest P^(1 - alpha) IoU^alpha, of those near its centre; all take part until none does.

    Which of them is the positive one, and how positive the others are, a weighting says (`one_to_few`).

    A sample that several objects take goes to the one it is best for, and they get no other in its place, so an object may be
    left without (1 of 26 in a crowd with k = 4). A pair of quality 0 is no pair.

    Args:
        k: samples that each object takes; 4 on CrowdHuman.
        alpha: power of the IoU, 1 - alpha that of P.
        radius: candidates lie in the square of this half side, strides, about the object's centre, cut to its box; None
            takes all points of the box.
        ignore_threshold: share of a sample's cell in an ignore region from which it is not pushed down; 0 switches off.
        score: the score model that P comes from; an assigner offers its own, None is a sigmoid.

    Raises:
        ValueError: for a k below 1 and an alpha outside [0, 1].
    """

    cardinality = "one-to-few"

    def __init__(
        self,
        k: int = 7,
        alpha: float = 0.8,
        radius: float | None = 1.5,
        ignore_threshold: float = 0.5,
        score: Any = None,
    ) -> None:
        check_count("k", k, 1)
        check_share("alpha", alpha)
        self.k = k
        self.alpha = alpha
        self.radius = radius
        self.ignore_threshold = ignore_threshold
        self.score = SCORES.build("sigmoid" if score is None else score)

    @property
    def needs(self) -> frozenset[str]:
        """Points and the strides of their cells, and what the score model needs."""
        return frozenset({"points", "strides"}) | self.score.needs

    @torch.no_grad()
    def __call__(self, predictions: Predictions, targets: Targets) -> Matches:
        pairs = near_candidates(predictions, targets, self.radius)
        quality = Alignment(1 - self.alpha, self.alpha)(predictions, targets, pairs, self.score(predictions))
        chosen = (quality > 0) & (rank_within(pairs.flat_target(targets), quality) < self.k)
        stays = settle_conflicts(pairs, chosen, quality, predictions, targets)
        matches = replace(pairs, score=quality).select(stays)
        return with_ignored(matches, inside_ignored(prior_boxes(predictions, 1.0), targets, self.ignore_threshold))
