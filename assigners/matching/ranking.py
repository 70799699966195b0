"""Matching by rank: every object takes the k priors most similar to it, however little that is.

The ranking assigner of NWD-RKA (arXiv 2206.13996): no threshold decides what is positive, so tiny objects, which overlap
hardly any anchor, have samples like all others.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor

from ..checks import check_choice, check_count
from ..registry import MATCHINGS, SIMILARITIES
from ..structures import Matches, Predictions, Targets
from .pairs import (
    Conflict,
    found_in_parts,
    inside_ignored,
    prior_boxes,
    real_pairs,
    settle_conflicts,
    target_chunks,
    with_ignored,
)
from .top_k import nearest_of_best

Ties = Literal["rank", "join"]
"""See `Ranking`."""


@MATCHINGS.register("ranking")
class Ranking:
    """The k samples whose priors are most similar to the object, inside it or not.

    NWD-RKA's code looks for values that equal one of an object's k largest, so equal ones all join, and lets the last object of
    the list have a sample that several take: `ties="join"`, `conflict="last"`. Pairs without any similarity are none.

    Args:
        metric: similarity of an object and a prior; a name, a dict or a callable of `SIMILARITIES`.
        k: samples of every object; 2 in Faster R-CNN, 3 in Cascade R-CNN, DetectoRS and RetinaNet.
        ignore_above: samples without an object whose similarity to one reaches this are not pushed down; None pushes all down.
            NWD-RKA's code has 0.3, its paper none.
        ties: of samples of equal similarity those with the nearer centre, then of the lower index, are among the k ("rank"), or
            all are that share the least ("join").
        conflict: a sample that several objects take goes to the most similar ("best") or to the last of the list ("last").
        ignore_threshold: share of a sample's cell in an ignore region from which it is not pushed down; 0 switches off.
        prior_scale: side of the squares, in strides, when the predictions have no anchor boxes.

    Raises:
        ValueError: for an unknown choice, and a k below 1.
    """

    cardinality = "one-to-many"
    needs = frozenset({"points", "strides"})
    moves_others = True  # an object may take samples outside its box, also from another that is less similar to them

    def __init__(
        self,
        metric: Any = "nwd",
        k: int = 3,
        ignore_above: float | None = None,
        ties: Ties = "rank",
        conflict: Conflict = "best",
        ignore_threshold: float = 0.5,
        prior_scale: float = 8.0,
    ) -> None:
        check_count("k", k, 1)
        check_choice("ties", ties, get_args(Ties))
        check_choice("conflict", conflict, get_args(Conflict))
        self.metric = SIMILARITIES.build(metric)
        self.k = k
        self.ignore_above = ignore_above
        self.ties = ties
        self.conflict = conflict
        self.ignore_threshold = ignore_threshold
        self.prior_scale = prior_scale

    @property
    def scale_invariant(self) -> bool:
        """As the metric is."""
        return getattr(self.metric, "scale_invariant", True)

    def __call__(self, predictions: Predictions, targets: Targets) -> Matches:
        matches, highest = self.of_priors(prior_boxes(predictions, self.prior_scale), predictions, targets)
        return beside_undecided(matches, highest, self.ignore_above, self.ignore_threshold, predictions, targets)

    def of_priors(self, priors: Tensor, predictions: Predictions, targets: Targets) -> tuple[Matches, Tensor]:
        """The pairs for priors (1 or B, N, 4), and each sample's largest similarity (B, N) to any object, 0 without one."""
        pairs, stays, highest = self.candidates(priors, predictions, targets)
        return pairs.select(stays), highest

    @torch.no_grad()
    def candidates(self, priors: Tensor, predictions: Predictions, targets: Targets) -> tuple[Matches, Tensor, Tensor]:
        """Pairs that reach the k-th value of their target, which of them stay (P,), and the largest similarity (B, N)."""
        real = real_pairs(predictions, targets).transpose(1, 2)
        highest, found = targets.boxes.new_zeros(predictions.logits.shape[:2]), []
        for chunk in target_chunks(predictions, targets):
            similarity = self.metric(targets.boxes[:, chunk, None], priors[:, None])  # (B, m, N)
            similarity = torch.where(real[:, chunk] & (similarity > 0), similarity, 0.0)  # what is not a number as well
            highest = torch.cat([highest[:, None], similarity], 1).amax(1)
            found.append(self._within_reach(similarity, chunk.start))
        pairs = found_in_parts(found)
        every = torch.ones_like(pairs.image, dtype=torch.bool)
        chosen = every if self.ties == "join" else nearest_of_best(pairs, self.k, priors, targets)
        key = pairs.score if self.conflict == "best" else pairs.target.to(pairs.score)
        return pairs, settle_conflicts(pairs, chosen, key, predictions, targets), highest

    def _within_reach(self, similarity: Tensor, first: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Image, sample, target, counted from the `first`, and similarity (P,) of what reaches the k-th of (B, m, N)."""
        least = similarity.topk(min(self.k, similarity.shape[-1])).values.amin(-1, keepdim=True)
        image, target, sample = ((similarity >= least) & (similarity > 0)).nonzero(as_tuple=True)
        return image, sample, target + first, similarity[image, target, sample]


def beside_undecided(
    matches: Matches,
    highest: Tensor,
    ignore_above: float | None,
    ignore_threshold: float,
    predictions: Predictions,
    targets: Targets,
) -> Matches:
    """The pairs beside samples that are ignored: in crowd regions, and those whose `highest` (B, N) reaches `ignore_above`."""
    ignored = inside_ignored(prior_boxes(predictions, 1.0), targets, ignore_threshold)
    if ignore_above is not None:
        undecided = highest >= ignore_above
        ignored = undecided if ignored is None else ignored | undecided
    return with_ignored(matches, ignored)
