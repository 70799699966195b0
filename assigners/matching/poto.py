"""Prediction-aware one-to-one matching: of all ways to give every object one sample near its centre, the best in total.

POTO (DeFCN, "End-to-End Object Detection with Fully Convolutional Network", arXiv 2012.03544, section 3.2), with its
constants as defaults.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from ...ops.transfer import to_device
from ..boxes import center, giou
from ..checks import check_choice, check_share
from ..ranking import rank_within
from ..registry import MATCHINGS, SCORES
from ..scores import Scores
from ..soft_targets import Alignment
from ..structures import Matches, Predictions, Targets
from .dynamic_k import packed
from .focal_losses import focal_losses
from .hungarian import solve
from .pairs import inside_ignored, near_candidates, prior_boxes, settle_conflicts, with_ignored

FOCAL_ALPHA, FOCAL_GAMMA, GIOU_WEIGHT = 0.25, 2.0, 2.0  # of the loss that a pair would have
UNMATCHED = {"alignment": -1.0, "loss": -torch.inf}  # what an object without a sample counts in the total
TIE = 1e-9  # of a quality: the nearest of samples that are equally good, where a box meets none of the predicted ones


@MATCHINGS.register("poto")
class POTO:
    """Objects and samples matched one to one so that the sum of P^(1 - alpha) IoU^alpha is largest.

    Candidates alone are compared: a problem has a row for each of them and not for each sample of the image, and all images
    are solved in one call. An object without a sample counts -1, so of two objects that want one sample both are served, if
    that is possible and not too bad for the other.

    Differs from DeFCN's code: there an object without candidates gets an arbitrary sample, which solvers take from the top
    left corner (`leftovers=True`); of candidates that are equally good, as those of IoU 0 are, the nearest is taken; a
    prediction that is not a number is no candidate, and raises there, as do an image without objects under "argmax" and a
    batch without any.

    Args:
        alpha: power of the IoU, 1 - alpha that of P.
        radius: candidates lie in the square of this half side, strides, about the object's centre, cut to its box; None
            takes all points of the box (CrowdHuman).
        quality: "alignment", the product above; or "loss", minus the loss that the pair would have, focal over all classes
            and 2 (1 - GIoU), where a matched object more goes before any sum.
        choice: "hungarian"; or "argmax": every object takes its best sample, and one that several take goes to the one it
            is best for, the others having none (as good in the paper, and cheaper).
        leftovers: hand every object a sample, and be it no candidate.
        ignore_threshold: share of a sample's cell in an ignore region from which it is not pushed down; 0 switches off.
        score: the score model that P comes from; an assigner offers its own, None is a sigmoid.

    Raises:
        ValueError: for an alpha outside [0, 1], an unknown choice, and leftovers of "argmax".

    >>> boxes = torch.tensor([[[0.0, 0.0, 8.0, 8.0], [0.0, 0.0, 8.0, 12.0]]])
    >>> points = torch.tensor([[4.0, 4.0], [4.0, 5.0]])
    >>> predictions = Predictions(torch.zeros(1, 2, 3), boxes, points=points, strides=torch.full((2,), 8.0))
    >>> POTO()(predictions, Targets.from_lists([boxes[0, :1]], [torch.tensor([1])])).sample
    tensor([0])
    """

    cardinality = "one-to-one"
    serves_all = False  # an object without candidates has no sample

    def __init__(
        self,
        alpha: float = 0.8,
        radius: float | None = 1.5,
        quality: Literal["alignment", "loss"] = "alignment",
        choice: Literal["hungarian", "argmax"] = "hungarian",
        leftovers: bool = False,
        ignore_threshold: float = 0.5,
        score: Any = None,
    ) -> None:
        check_share("alpha", alpha)
        check_choice("quality", quality, tuple(UNMATCHED))
        check_choice("choice", choice, ("hungarian", "argmax"))
        if leftovers and choice == "argmax":
            raise ValueError("leftovers: only the choice 'hungarian' has any, got 'argmax'")
        self.alpha = alpha
        self.radius = radius
        self.quality = quality
        self.choice = choice
        self.leftovers = leftovers
        self.ignore_threshold = ignore_threshold
        self.score = SCORES.build("sigmoid" if score is None else score)

    @property
    def needs(self) -> frozenset[str]:
        """Points and the strides of their cells, and what the score model needs."""
        return frozenset({"points", "strides"}) | self.score.needs

    @torch.no_grad()
    def __call__(self, predictions: Predictions, targets: Targets) -> Matches:
        scores = self.score(predictions)
        candidates = near_candidates(predictions, targets, self.radius)
        value = self.value(candidates, predictions, targets, scores)
        key = value.double() + TIE * nearness(candidates, predictions, targets)
        choose = self._best_for_each if self.choice == "argmax" else self._best_in_total
        matches = self._scored(choose(candidates, key, predictions, targets), predictions, targets, scores)
        return with_ignored(matches, inside_ignored(prior_boxes(predictions, 1.0), targets, self.ignore_threshold))

    def value(self, pairs: Matches, predictions: Predictions, targets: Targets, scores: Scores) -> Tensor:
        """(P,) what the sum over pairs, which is to be largest, has of each; as without one where a prediction is no number."""
        if self.quality == "loss":
            value = -foreground_loss(pairs, predictions, targets, scores)
        else:
            value = Alignment(1 - self.alpha, self.alpha)(predictions, targets, pairs, scores)
        sound = pairs.predicted_boxes(predictions).isfinite().all(-1)
        sound = sound & ~scores.log_present(pairs, pairs.labels(targets)).isnan() & value.isfinite()
        return torch.where(sound, value, UNMATCHED[self.quality])

    def _scored(self, pairs: Matches, predictions: Predictions, targets: Targets, scores: Scores) -> Matches:
        """The pairs scored by their value, that of a loss as exp(-loss)."""
        value = self.value(pairs, predictions, targets, scores)
        score = value.exp().nan_to_num(nan=0.0) if self.quality == "loss" else value
        return Matches(pairs.image, pairs.sample, pairs.target, score)

    def _best_for_each(self, candidates: Matches, key: Tensor, predictions: Predictions, targets: Targets) -> Matches:
        chosen = (rank_within(candidates.flat_target(targets), key) < 1) & (key > UNMATCHED[self.quality] + TIE)
        return candidates.select(settle_conflicts(candidates, chosen, key, predictions, targets))

    def _best_in_total(self, candidates: Matches, key: Tensor, predictions: Predictions, targets: Targets) -> Matches:
        pairs = torch.stack([candidates.image, candidates.sample, candidates.target])
        valid = predictions.valid
        if valid is None:
            valid = torch.ones(predictions.logits.shape[:2], dtype=torch.bool, device=key.device)
        found = self._solved(*on_host_together(pairs, key, targets.mask, valid))
        image, sample, target = to_device(torch.stack(found), key.device)
        return Matches(image, sample, target, torch.ones_like(image, dtype=predictions.boxes.dtype))

    def _solved(self, pairs: Tensor, key: Tensor, mask: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Image, sample and target of the matched pairs, given candidates (3, P), their keys (P,) and masks, on the host."""
        image, sample, target = pairs.long()
        flags = valid > 0 if self.leftovers else torch.zeros_like(valid, dtype=torch.bool)
        flags[image, sample] = True
        index, real = packed(flags)
        unmatched = -UNMATCHED[self.quality]
        cost = key.new_full((*index.shape, mask.shape[1]), unmatched)
        cost[image, (flags.cumsum(1) - 1)[image, sample], target] = -key
        image, place, target = solve(cost, real, mask > 0)
        kept = (cost[image, place, target] < unmatched - 2 * TIE) | self.leftovers
        return image[kept], index[image, place][kept], target[kept]


def on_host_together(*tensors: Tensor) -> list[Tensor]:
    """The tensors in float64 on the host, in one copy."""
    joined = torch.cat([tensor.flatten().double() for tensor in tensors]).cpu()
    parts = joined.split([tensor.numel() for tensor in tensors])
    return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]


def nearness(pairs: Matches, predictions: Predictions, targets: Targets) -> Tensor:
    """(P,) 1 for a point in the centre of its target's box, falling with the distance in strides."""
    offset = predictions.points_at(pairs.image, pairs.sample) - center(pairs.target_boxes(targets))
    distance = offset.double().square().sum(-1).sqrt()
    return 1 / (1 + distance / predictions.strides_at(pairs.image, pairs.sample))


def foreground_loss(pairs: Matches, predictions: Predictions, targets: Targets, scores: Scores) -> Tensor:
    """(P,) the loss that each pair would have: focal over all classes, and 2 (1 - GIoU)."""
    overlap = giou(pairs.predicted_boxes(predictions), pairs.target_boxes(targets))
    return focal_losses(scores, pairs, targets, FOCAL_ALPHA, FOCAL_GAMMA) + GIOU_WEIGHT * (1 - overlap)
