"""OTA: objects supply samples, the background the rest, and an optimal transport decides (arXiv 2103.14259)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from ..checks import check_choice, check_count
from ..costs import cost_as_background, cost_of_pairs
from ..needs import needs_of
from ..quality import predicted_iou
from ..registry import COSTS, MATCHINGS, SCORES
from ..structures import Matches, Predictions, Targets
from .dynamic_k import TRANSPORT_COSTS, DynamicK, binary, packed
from .pairs import candidate_pairs, inside_ignored, prior_boxes, settle_conflicts, with_ignored
from .regions import Region
from .sinkhorn import sinkhorn
from .top_k import rank_within

WithoutCandidates = Literal["cheapest", "none", "transport"]
"""What a target without candidates takes in `OptimalTransport`."""


@MATCHINGS.register("ota")
class OptimalTransport:
    """Samples go to whom an entropic transport plan sends most of them, as a share of the most that it sends of anybody.

    A target supplies k units, the whole part of the sum of its `top` largest IoUs with candidates, at least 1, and the
    background what is left. A pair costs what its losses would be, and only candidates may be sent: those in the box and in the
    square about its centre. The plan is that of a fixed number of Sinkhorn's iterations; in crowds it has not converged then,
    and the published results come with it.

    Differs from the code, which costs a pair that is no candidate 1e6 and so forces targets that have none on samples
    anywhere, by rounding errors: these get what `without_candidates` says. A pair of infinite cost is no candidate.

    Args:
        costs: coefficient by term, or {"weight": coefficient, ...arguments} (see `detassign.assigners.costs`); None takes the
            published focal loss 1, -log IoU 1.5.
        radius: half side of the square, strides.
        margin: least distance of a candidate from the sides of the box, pixels.
        top: see above.
        eps: weight of the entropy.
        iterations: of Sinkhorn.
        without_candidates: a target that has none gets the cheapest sample that no other has ("cheapest"), "none", or takes
            part in the transport with every sample of the image ("transport": what the code would do if it did not round;
            memory grows with such targets times samples).
        ignore_threshold: a sample whose cell lies in an ignore region by more than this is not pushed down; 0 switches off.
        score: the score model that class costs follow; an assigner offers its own, None is a sigmoid.

    Raises:
        ValueError: for an unknown choice, and numbers of samples or iterations below 1.
    """

    cardinality = "one-to-many"
    waits = 4  # one more than usual where an object has no candidate: what it takes instead

    def __init__(
        self,
        costs: Mapping[str, Any] | None = None,
        radius: float = 2.5,
        margin: float = 0.01,
        top: int = 20,
        eps: float = 0.1,
        iterations: int = 50,
        without_candidates: WithoutCandidates = "cheapest",
        ignore_threshold: float = 0.5,
        score: Any = None,
    ) -> None:
        check_count("top", top, 1)
        check_count("iterations", iterations, 1)
        check_choice("without_candidates", without_candidates, get_args(WithoutCandidates))
        Region(margin=margin, radius=radius)  # refuses what are no sizes
        if not eps > 0:
            raise ValueError(f"eps: expected a number above 0, got {eps}")
        self.costs = COSTS.build_weighted(costs or TRANSPORT_COSTS)
        self.radius = radius
        self.margin = margin
        self.top = top
        self.eps = eps
        self.iterations = iterations
        self.without_candidates = without_candidates
        self.ignore_threshold = ignore_threshold
        self.score = SCORES.build("sigmoid" if score is None else score)

    @property
    def needs(self) -> frozenset[str]:
        """Points and the strides of their cells, and what the cost terms and the score model need."""
        return frozenset({"points", "strides"}) | needs_of(self.score, *self.costs.values())

    @torch.no_grad()
    def __call__(self, predictions: Predictions, targets: Targets) -> Matches:
        predictions = binary(predictions, self.score)
        pairs, stays, supply = self._transported(predictions, targets)
        if self.without_candidates == "cheapest":
            pairs, stays = self._with_cheapest(pairs, stays, targets.mask & (supply == 0), predictions, targets)
        matches = self._scored(pairs.select(stays), predictions, targets)
        return with_ignored(matches, inside_ignored(prior_boxes(predictions, 1.0), targets, self.ignore_threshold))

    def _transported(self, predictions: Predictions, targets: Targets) -> tuple[Matches, Tensor, Tensor]:
        """The pairs, which of them the plan decides for (P,), and what each target supplied (B, M)."""
        pairs, cost, background, supply, late = self.problem(predictions, targets)
        slot, row = pairs.image * predictions.logits.shape[1] + pairs.sample, pairs.flat_target(targets)
        valid = valid_samples(predictions)
        sent, kept = sinkhorn(cost, slot, row, background, supply, valid, self.eps, self.iterations, late)
        most = sent.new_full(supply.shape, -torch.inf).flatten().scatter_reduce_(0, row, sent, "amax")
        share = sent - most[row]
        kept_share = (kept - kept.amax(1, keepdim=True)).flatten()[slot]
        stays = settle_conflicts(pairs, cost.isfinite() & (share >= kept_share), share, predictions, targets)
        return pairs, stays, supply

    def problem(
        self, predictions: Predictions, targets: Targets
    ) -> tuple[Matches, Tensor, Tensor, Tensor, Tensor | None]:
        """What is to be transported: pairs, their costs (P,), inf for no candidate, what samples cost as background (B, N), the
        targets' supplies (B, M) and which targets have every sample for want of candidates (B, M), or None."""
        background = cost_as_background(self.costs, predictions)
        pairs = candidate_pairs(predictions, targets, margin=self.margin, radius=self.radius)
        pairs, cost = self._priced(pairs, background, predictions, targets)
        units = self._units(pairs, cost.isfinite(), targets)
        late = None
        if self.without_candidates == "transport":
            late = targets.mask & (units == 0)
            every = late[:, None] & valid_samples(predictions)[..., None]
            image, sample, target = every.nonzero(as_tuple=True)
            forced, price = self._priced((image, sample, target), background, predictions, targets)
            pairs, cost, units = pairs.followed_by(forced), torch.cat([cost, price]), units + late
        finite = background.isfinite()
        return pairs, cost, torch.where(finite, background, 0.0), units, late

    def _priced(
        self, pairs: tuple[Tensor, Tensor, Tensor], background: Tensor, predictions: Predictions, targets: Targets
    ) -> tuple[Matches, Tensor]:
        """The pairs, scored by their IoUs, and their costs (P,), inf where they are not finite."""
        image, sample, target = pairs
        matches = self._scored(Matches(*pairs, background.new_ones(len(image))), predictions, targets)
        alone = Predictions(  # every pair as an image of one sample and one target
            predictions.logits[image, sample][:, None],
            predictions.boxes[image, sample][:, None],
            None if predictions.objectness is None else predictions.objectness[image, sample][:, None],
            predictions.points_at(image, sample)[:, None],
            predictions.strides_at(image, sample)[:, None],
        )
        sizes = None if targets.sizes is None else targets.sizes[image]
        one = Targets(
            matches.target_boxes(targets)[:, None],
            matches.labels(targets)[:, None],
            torch.ones_like(target, dtype=torch.bool)[:, None],
            sizes=sizes,
        )
        overlap = matches.score[:, None, None]
        cost = cost_of_pairs(self.costs, alone, one, overlap, background[image, sample][:, None])[:, 0, 0]
        return matches, torch.where(alone.boxes[:, 0].isfinite().all(-1) & cost.isfinite(), cost, torch.inf)

    def _units(self, pairs: Matches, finite: Tensor, targets: Targets) -> Tensor:
        """(B, M) the units that each target supplies, 0 where it has no candidate, a pair (P,) that is `finite`."""
        row = pairs.flat_target(targets)
        counted = pairs.score * (finite & (rank_within(row, pairs.score.masked_fill(~finite, -1)) < self.top))
        sums = pairs.score.new_zeros(targets.mask.numel()).index_add_(0, row, counted)
        candidates = torch.zeros_like(sums, dtype=torch.long).index_add_(0, row, finite.long())
        return torch.where(candidates > 0, sums.long().clamp(min=1), 0).view(targets.mask.shape)

    def _with_cheapest(
        self, pairs: Matches, stays: Tensor, without: Tensor, predictions: Predictions, targets: Targets
    ) -> tuple[Matches, Tensor]:
        """The pairs and which of them stay, (P,), where targets without candidates (B, M) get their cheapest free samples."""
        index, real = packed(without)
        if not index.shape[1]:
            return pairs, stays
        taken = torch.zeros(predictions.logits.shape[:2], dtype=torch.long, device=stays.device)
        taken.index_put_((pairs.image, pairs.sample), stays.long(), accumulate=True)
        free = replace(predictions, valid=valid_samples(predictions) & (taken == 0))
        boxes = targets.boxes.gather(1, index[..., None].expand(-1, -1, 4))
        others = replace(targets, boxes=boxes, labels=targets.labels.gather(1, index), mask=real)
        owner, sample = DynamicK(self.costs, k=1).owners(free, others)
        image = torch.arange(len(owner), device=owner.device)[:, None].expand_as(owner)
        target = index.gather(1, owner.clamp(min=0))
        ones = pairs.score.new_ones(owner.numel())
        cheapest = Matches(image.flatten(), sample.flatten(), target.flatten(), ones)
        return pairs.followed_by(cheapest), torch.cat([stays, owner.flatten() >= 0])

    def _scored(self, pairs: Matches, predictions: Predictions, targets: Targets) -> Matches:
        return replace(pairs, score=predicted_iou(predictions, targets, pairs))


def valid_samples(predictions: Predictions) -> Tensor:
    """(B, N) bool, samples inside their image."""
    if predictions.valid is not None:
        return predictions.valid
    return torch.ones(predictions.logits.shape[:2], dtype=torch.bool, device=predictions.logits.device)
