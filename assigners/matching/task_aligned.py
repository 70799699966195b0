"""Task-aligned matching: each object takes the samples that classify it and fit it best, by P^a IoU^b.

TOOD (arXiv 2108.07755, section 3.2), with its constants as defaults; the YOLO family from YOLOv8 on has others.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor

from ..boxes import OVERLAPS
from ..checks import check_choice, check_count
from ..registry import MATCHINGS, SCORES
from ..scores import Scores
from ..structures import Matches, Predictions, Targets
from .pairs import (
    Claimants,
    candidate_pairs,
    inside_ignored,
    overlapping_pairs,
    prior_boxes,
    settle_conflicts,
    with_ignored,
)
from .top_k import rank_within

BestOf = Literal["inside", "all", "filled"]
"""Whom a target's best samples are of; see `TaskAligned`."""


@MATCHINGS.register("task_aligned")
class TaskAligned:
    """The k samples of largest alignment P^score_power overlap^iou_power whose points lie inside the object's box.

    A pair of alignment 0 is no pair. YOLO's code fills the places of an object that has fewer than k with arbitrary points of
    alignment 0, and those in its box become positives with target 0; one that only such objects contest goes to the first of
    the image, wherever that lies: `best_of="filled"`, for parity, is dense.

    | | TOOD | YOLOv8, 11 | YOLOv10's second head | current ultralytics | YOLO26's second head |
    |---|---|---|---|---|---|
    | k, keep | 13 | 10 | 1 | 10 | 7, 1 |
    | powers, overlap | 1, 6, iou | 0.5, 6, ciou | 0.5, 6, ciou | 0.5, 6, ciou | 0.5, 6, ciou |
    | best_of, conflict | all, holders | inside, all | inside, all | inside, all | inside, all |
    | margin, min_side | 0.01, 0 | 1e-9, 0 | 1e-9, 0 | 1e-9, 16 | 1e-9, 16 |

    Args:
        k: samples that each object chooses.
        score_power, iou_power: of the alignment.
        overlap: "iou" or "ciou" of predicted box and object, at least 0.
        best_of: choose among the samples "inside" the box; or among "all" and leave out of these the ones outside (TOOD), so
            that a sample outside takes a place; or "filled", as YOLO's code does it, see above.
        conflict: a sample that several objects chose goes to the one it overlaps most, of those that chose it ("holders")
            or of all whose box it is in ("all"), which may then have more than k samples.
        keep: of its samples each object keeps so many after conflicts are settled; None keeps all.
        margin: least distance of a point from the sides of the box, pixels.
        min_side: sides shorter than this, pixels, count as so long where points are looked for.
        ignore_threshold: share of a sample's cell in an ignore region from which it is not pushed down; 0 switches off.
        score: the score model that P comes from; an assigner offers its own, None is a sigmoid.

    Raises:
        ValueError: for an unknown choice, and a k or keep below 1.
    """

    cardinality = "one-to-many"
    serves_all = False  # also one to one: an object that loses its samples to others, or fits none, has none

    def __init__(
        self,
        k: int = 13,
        score_power: float = 1.0,
        iou_power: float = 6.0,
        overlap: Literal["iou", "ciou"] = "iou",
        best_of: BestOf = "all",
        conflict: Claimants = "holders",
        keep: int | None = None,
        margin: float = 0.01,
        min_side: float = 0.0,
        ignore_threshold: float = 0.5,
        score: Any = None,
    ) -> None:
        check_count("k", k, 1)
        check_count("keep", keep, 1)
        check_choice("overlap", overlap, tuple(OVERLAPS))
        check_choice("best_of", best_of, get_args(BestOf))
        check_choice("conflict", conflict, get_args(Claimants))
        self.k = k
        self.score_power = score_power
        self.iou_power = iou_power
        self.overlap = overlap
        self.best_of = best_of
        self.conflict: Claimants = conflict
        self.keep = keep
        self.margin = margin
        self.min_side = min_side
        self.ignore_threshold = ignore_threshold
        self.score = SCORES.build("sigmoid" if score is None else score)
        if 1 in (k, keep):
            self.cardinality = "one-to-one"

    @property
    def needs(self) -> frozenset[str]:
        """Points and the strides of their cells, and what the score model needs."""
        return frozenset({"points", "strides"}) | self.score.needs

    @property
    def scale_invariant(self) -> bool:
        """Not where a side is enlarged to so many pixels."""
        return self.min_side == 0

    @torch.no_grad()
    def __call__(self, predictions: Predictions, targets: Targets) -> Matches:
        scores = self.score(predictions)
        candidates, overlap = self.candidates(predictions, targets, scores)
        stays = self._chosen(candidates, predictions, targets, scores)
        if self.best_of == "filled":
            candidates, overlap, stays = _beside_first_target(candidates, overlap, stays, predictions)
        stays = settle_conflicts(candidates, stays, overlap, predictions, targets, self.conflict)
        matches = candidates.select(stays)
        if self.keep is not None:
            matches = matches.select(rank_within(matches.flat_target(targets), matches.score) < self.keep)
        return with_ignored(matches, inside_ignored(prior_boxes(predictions, 1.0), targets, self.ignore_threshold))

    def candidates(self, predictions: Predictions, targets: Targets, scores: Scores) -> tuple[Matches, Tensor]:
        """All pairs of a point inside a box, scored by their alignment, and their overlap (P,)."""
        pairs = candidate_pairs(predictions, targets, margin=self.margin, min_side=self.min_side)
        return self._graded(pairs, predictions, targets, scores)

    def _graded(
        self, pairs: tuple[Tensor, Tensor, Tensor], predictions: Predictions, targets: Targets, scores: Scores
    ) -> tuple[Matches, Tensor]:
        """Pairs scored by their alignment, and their overlap (P,), each 0 where a prediction is not a number."""
        unscored = Matches(*pairs, predictions.boxes.new_zeros(len(pairs[0])))
        boxes = unscored.predicted_boxes(predictions), unscored.target_boxes(targets)
        overlap = OVERLAPS[self.overlap](*boxes).nan_to_num(nan=0.0).clamp(0, 1)
        score = scores.log_present(unscored, unscored.labels(targets)).exp().nan_to_num(nan=0.0)
        return Matches(*pairs, score**self.score_power * overlap**self.iou_power), overlap

    def _chosen(self, candidates: Matches, predictions: Predictions, targets: Targets, scores: Scores) -> Tensor:
        """(P,) whether a candidate is one of its target's k."""
        if self.best_of == "filled":
            best = self._best_of_filled(candidates, predictions, targets)[candidates.image, candidates.target]  # (P, k)
            return (best == candidates.sample[:, None]).any(-1)
        aligned = candidates.score > 0
        if self.best_of == "inside":
            return aligned & self._leads(candidates, targets)
        best = self._best_of_all(predictions, targets, scores)
        return aligned & torch.isin(_pair_index(candidates, predictions, targets), best)

    def _leads(self, matches: Matches, targets: Targets) -> Tensor:
        """(P,) whether a pair is one of its target's k best."""
        return rank_within(matches.flat_target(targets), matches.score) < self.k

    def _best_of_all(self, predictions: Predictions, targets: Targets, scores: Scores) -> Tensor:
        """Index of every pair among its target's k best, wherever its point is."""
        best = []
        for pairs in overlapping_pairs(predictions, targets):
            matches, _ = self._graded(pairs, predictions, targets, scores)
            best.append(_pair_index(matches.select(self._leads(matches, targets)), predictions, targets))
        return torch.cat(best)

    def _best_of_filled(self, candidates: Matches, predictions: Predictions, targets: Targets) -> Tensor:
        """(B, M, k) the samples of largest alignment, that of points outside being 0; ties fall as torch's topk breaks them."""
        samples = predictions.logits.shape[1]
        alignment = candidates.score.new_zeros(*targets.mask.shape, samples)
        alignment[candidates.image, candidates.target, candidates.sample] = candidates.score
        return alignment.topk(min(self.k, samples)).indices


def _pair_index(matches: Matches, predictions: Predictions, targets: Targets) -> Tensor:
    """(P,) the place of each pair among all of every target and every sample."""
    return matches.flat_target(targets) * predictions.logits.shape[1] + matches.sample


def _beside_first_target(
    candidates: Matches, overlap: Tensor, stays: Tensor, predictions: Predictions
) -> tuple[Matches, Tensor, Tensor]:
    """The candidates, and for each of their samples a pair without overlap with the first target, which no one chose."""
    images, samples = predictions.logits.shape[:2]
    slot = candidates.image * samples + candidates.sample
    wanted = torch.zeros(images * samples, dtype=torch.bool, device=slot.device)
    wanted[slot] = True
    wanted[slot[candidates.target == 0]] = False
    more = wanted.nonzero()[:, 0]
    nothing = overlap.new_zeros(len(more))
    joined = candidates.followed_by(Matches(more // samples, more % samples, more * 0, nothing))
    return joined, torch.cat([overlap, nothing]), torch.cat([stays, nothing > 0])
