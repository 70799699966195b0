"""Thresholded matching: samples above a threshold say how many an object gets, and its best ones are taken.

DETA (arXiv 2212.06137) by IoU, MS-DETR (arXiv 2401.03989) and DAC-DETR (NeurIPS 2023) by IoU and class score.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import pad

from ..boxes import iou
from ..checks import check_choice, check_count, check_share
from ..costs import at_labels
from ..denoising.noise import Noise
from ..ranking import rank_within
from ..registry import MATCHINGS, SCORES
from ..structures import Matches, Predictions, Targets
from .identical import identical_objects
from .pairs import real_pairs, settle_conflicts, target_chunks
from .top_k import rank_nearest_first

CONFLICTS = ("best", "all", "class_of_best", "class_of_last")


@MATCHINGS.register("thresholded")
class Thresholded:
    """Every object takes its min(c, k) best samples, where c samples are positive and like it more than any other object.

    A pair's score is (1 - class_weight) IoU + class_weight P. A sample is positive if its best score reaches the threshold, or
    if it is an object's best sample. The best samples are those of all, positive or not.

    | | DETA's decoder | its encoder | MS-DETR | DAC-DETR |
    |---|---|---|---|---|
    | threshold, k, class_weight | 0.6, 4, 0 | 0.7, 4, 0 | 0.4, 6, 0.3 | 0.4, 6, 0.3 |
    | low_quality, limit | all, 0.25 | all, 128 | one, 0.25 | one, 75 |
    | conflict | class_of_last | class_of_last | class_of_best | all |

    Their code differs where they share what looks like an oversight: an object that is there twice leaves the second without a
    sample for ever, one that no sample touches makes every other one positive, and a loss depends on random numbers. Parity:
    `sampling="random", duplicates="first", minimum=0.0` and the `conflict` above.

    Args:
        threshold: least score of a positive.
        k: samples of an object at most.
        class_weight: weight of P in the score; the rest is that of the IoU.
        low_quality: "all" that share an object's best score are positive, whatever the threshold, or just "one".
        minimum: score that those, and pairs, have at least.
        limit: of pairs per image: below 1 a share of its valid samples, else a number; None sets none.
        sampling: "even" keeps to the limit by giving objects fewer samples, their best ones last; "random" limits the
            positives instead, by a draw, before they are counted.
        duplicates: identical objects have what one would have, "shared" out between them or left to the "first".
        conflict: a sample that several objects take goes to the one with which it scores "best"; or stays with "all"; or learns
            all their boxes and one class, "class_of_best" or that of the last in the list, "class_of_last".
        noise: where random numbers come from; None is torch's generator.
        score: the score model that P comes from; an assigner offers its own, None is a sigmoid.

    Raises:
        ValueError: for an unknown choice, a k below 1, a score outside [0, 1] and a limit that is not positive.
    """

    cardinality = "one-to-many"

    def __init__(
        self,
        threshold: float = 0.6,
        k: int = 4,
        class_weight: float = 0.0,
        low_quality: Literal["all", "one"] = "all",
        minimum: float = 1e-6,
        limit: float | None = 0.25,
        sampling: Literal["even", "random"] = "even",
        duplicates: Literal["shared", "first"] = "shared",
        conflict: Literal["best", "all", "class_of_best", "class_of_last"] = "best",
        noise: Noise | None = None,
        score: Any = None,
    ) -> None:
        check_count("k", k, 1)
        check_choice("low_quality", low_quality, ("all", "one"))
        check_choice("sampling", sampling, ("even", "random"))
        check_choice("duplicates", duplicates, ("shared", "first"))
        check_choice("conflict", conflict, CONFLICTS)
        for name, value in (("threshold", threshold), ("class_weight", class_weight), ("minimum", minimum)):
            check_share(name, value)
        if limit is not None and not limit > 0:
            raise ValueError(f"limit: expected a share or a number of samples above 0, or None, got {limit!r}")
        self.threshold = threshold
        self.k = k
        self.class_weight = class_weight
        self.low_quality = low_quality
        self.minimum = minimum
        self.limit = limit
        self.sampling = sampling
        self.duplicates = duplicates
        self.conflict = conflict
        self.noise = Noise() if noise is None else noise
        self.score = SCORES.build("sigmoid" if score is None else score)

    @property
    def needs(self) -> frozenset[str]:
        """What the score model needs, where P counts."""
        return self.score.needs if self.class_weight else frozenset()

    @property
    def moves_others(self) -> bool:
        """Whether an object that no sample touches may still change what others get: where P counts."""
        return self.class_weight > 0

    @torch.no_grad()
    def __call__(self, predictions: Predictions, targets: Targets) -> Matches:
        scores, limit = self.scores(predictions, targets), self._limit_of(predictions)
        wanted, place, sharers = self._wanted(scores, limit, targets)
        candidates = self._best(scores, wanted)
        at = candidates.image, candidates.target
        rank = rank_nearest_first(candidates, predictions.boxes, targets)
        chosen = (rank < wanted[at]) & (rank % sharers[at] == place[at])
        if self.conflict == "best":
            chosen = settle_conflicts(candidates, chosen, candidates.score, predictions, targets)
        if self.sampling == "even":
            chosen = _evenly(candidates, chosen, rank // sharers[at], limit)
        return self._pairs(candidates.select(chosen), predictions, targets)

    def scores(self, predictions: Predictions, targets: Targets) -> Tensor:
        """(B, M + 1, N) of every sample with every object, -1 where they can be no pair; so is the last row, of no object."""
        images, samples, count = *predictions.logits.shape[:2], targets.boxes.shape[1]
        result = predictions.boxes.new_full((images, count + 1, samples), -1.0)
        possible = real_pairs(predictions, targets).transpose(1, 2)
        probability = self.score(predictions).probability if self.class_weight else None
        for part in target_chunks(predictions, targets):
            score = iou(predictions.boxes[:, None], targets.boxes[:, part, None])
            if probability is not None:
                own = at_labels(probability, targets.part(part.start, part.stop)).transpose(1, 2)
                score = (1 - self.class_weight) * score + self.class_weight * own
            result[:, part] = torch.where(possible[:, part] & score.isfinite(), score, -1.0)
        return result

    def _limit_of(self, predictions: Predictions) -> Tensor:
        """(B,) the limit of every image, of pairs or of positives."""
        images, samples = predictions.logits.shape[:2]
        count = torch.full((images,), samples, device=predictions.logits.device)
        if self.limit is not None and self.limit >= 1:
            return count.clamp(max=int(self.limit))
        valid = count if predictions.valid is None else predictions.valid.sum(1)
        return count if self.limit is None else (self.limit * valid.double()).long().clamp(min=1)

    def _wanted(self, scores: Tensor, limit: Tensor, targets: Targets) -> tuple[Tensor, Tensor, Tensor]:
        """(B, M + 1) how many samples an object wants, with those identical to it; its place among these; and their number."""
        count = self._counts(scores, limit)
        place, sharers = torch.zeros_like(count), torch.ones_like(count)
        if self.duplicates == "shared":
            group, place = (pad(part, (0, 1)) for part in identical_objects(targets, self.class_weight > 0))
            group[:, -1] = group.shape[1] - 1
            sharers = _total(group, sharers)
            count = _total(group, count)
            count = torch.where(count > 0, torch.maximum(count, sharers), 0)  # one each, of the best that there are
        return count.clamp(max=self.k), place, sharers

    def _counts(self, scores: Tensor, limit: Tensor) -> Tensor:
        """(B, M + 1) positives of every object, those that were drawn where a draw limits them."""
        best, nearest = scores.max(1)
        positive = (best >= self.threshold) | self._best_of_any(scores)
        if self.sampling == "random":
            positive = self._drawn(positive, limit, scores)
        return torch.zeros(scores.shape[:2], dtype=torch.long, device=scores.device).scatter_add_(
            1, nearest, positive.long()
        )

    def _best_of_any(self, scores: Tensor) -> Tensor:
        """(B, N) bool, whether a sample is the best one of an object."""
        best, sample = scores.max(2, keepdim=True)
        if self.low_quality == "all":
            claims = scores == best
        else:
            claims = torch.zeros_like(scores, dtype=torch.bool).scatter_(2, sample, True)
        return (claims & (best >= self.minimum)).any(1)

    def _drawn(self, positive: Tensor, limit: Tensor, like: Tensor) -> Tensor:
        """(B, N) bool, a random choice of each image's positives. Draws (B, N) uniform, the first number for the first one."""
        place = (positive.cumsum(1) - 1).clamp(min=0)
        drawn = self.noise.uniform(positive.shape, like).gather(1, place).masked_fill(~positive, 2.0)
        rank = drawn.argsort(1).argsort(1)
        return positive & (rank < limit[:, None])

    def _best(self, scores: Tensor, wanted: Tensor) -> Matches:
        """Of every object so many pairs of the highest scores as it wants, and all that score as the last of them."""
        best = scores.topk(min(self.k, scores.shape[2]), dim=2).values
        least = best.gather(2, (wanted[..., None] - 1).clamp(0, best.shape[2] - 1))
        image, target, sample = ((scores >= least.clamp(min=self.minimum)) & (wanted[..., None] > 0)).nonzero(
            as_tuple=True
        )
        return Matches(image, sample, target, scores[image, target, sample])

    def _pairs(self, pairs: Matches, predictions: Predictions, targets: Targets) -> Matches:
        """The pairs, or those whose classes are learned beside those whose boxes are."""
        if self.conflict in ("best", "all"):
            return pairs
        key = pairs.score if self.conflict == "class_of_best" else pairs.target.to(pairs.score)
        every = torch.ones_like(pairs.image, dtype=torch.bool)
        return replace(pairs.select(settle_conflicts(pairs, every, key, predictions, targets)), of_boxes=pairs)


def _total(group: Tensor, values: Tensor) -> Tensor:
    """(B, M) the sum of the values (B, M) of each one's group (B, M)."""
    return torch.zeros_like(values).scatter_add_(1, group, values).gather(1, group)


def _evenly(pairs: Matches, chosen: Tensor, turn: Tensor, limit: Tensor) -> Tensor:
    """(P,) the `chosen` pairs within their image's limit (B,): every object's first pair, then the second; best first."""
    key = torch.where(chosen, pairs.score / 2 - turn, -torch.inf)  # scores are at most 1
    return chosen & (rank_within(pairs.image, key) < limit[pairs.image])
