"""Matching by cost: every object takes its k cheapest samples, k as many as its predictions fit well.

SimOTA (YOLOX, arXiv 2107.08430), the dynamic soft label assignment of RTMDet (arXiv 2212.07784) and LLA (arXiv 2101.04307)
are choices of candidates, costs, rule for k and rule for conflicts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from numbers import Real
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from ..boxes import center, squared_distances
from ..checks import check_choice, check_count
from ..costs import cost_as_background, cost_of_pairs, overlaps
from ..needs import needs_of, required
from ..quality import predicted_iou
from ..registry import COSTS, MATCHINGS, SCORES
from ..structures import BACKGROUND, Matches, Predictions, Targets
from .pairs import PAIRS_IN_CACHE, Claimants, inside_ignored, prior_boxes, with_ignored
from .regions import Region

Ignore = Literal["overlap", "compete"]
"""What ignore regions do in `DynamicK`."""

SIMOTA_COSTS = {"binary_cross_entropy": 1.0, "iou_log": {"weight": 3.0, "eps": 1e-8}}
SOFT_LABEL_COSTS = {"soft_label": 1.0, "iou_log": {"weight": 3.0, "eps": 1e-7}, "center_distance": 1.0}
TRANSPORT_COSTS = {"focal_loss": 1.0, "iou_log": {"weight": 1.5, "eps": 1.1920929e-7}}


@MATCHINGS.register("dynamic_k")
class DynamicK:
    """Every target takes the k samples that cost it least; a sample that several take goes to one of them.

    A pair whose cost is not finite is never taken, so what is not a number wins nothing. Costs are added up for so many
    targets at a time as memory allows; what a sample costs as background, a sum over classes, once for each.

    Args:
        costs: coefficient by term, or {"weight": coefficient, ...arguments} (see `detassign.assigners.costs`);
            None takes SimOTA's, binary cross entropy 1 and -log IoU 3.
        candidates: the samples that are looked at, for all targets of the image alike: those in the `Region` of any of them,
            or all (None).
        own: a target's own region, where its pairs cost no `penalty`; None is everywhere.
        penalty: cost of a pair outside `own`; inf forbids it. It is added in float64, so such pairs keep their order.
        k: samples of every target; None takes the whole part of the sum of its `top` largest IoUs, at least 1.
        top: see k. The IoUs are with all samples that are looked at, in whose region they may be.
        conflict: a sample that several targets take goes to the one it is cheapest for, of all ("all", which may be one that
            did not ask for it) or of those that took it ("holders"). Of equal costs the nearer centre's, then the first
            target's.
        ignore: what ignore regions do: a sample whose cell lies in one by more than `ignore_threshold` is not pushed down
            ("overlap"); or they "compete" for samples like objects of class 0, and the samples they win are not pushed down
            (LLA).
        ignore_threshold: see ignore; 0 switches off.
        score: the score model that class costs follow; an assigner offers its own, None is a sigmoid.

    Raises:
        ValueError: for an unknown choice, numbers of samples below 1, and a penalty that is no number of at least 0.
    """

    cardinality = "one-to-many"
    moves_others = True  # a further target changes what is looked at, and to whom a contested sample goes

    def __init__(
        self,
        costs: Mapping[str, Any] | None = None,
        candidates: Region | Mapping[str, Any] | None = None,
        own: Region | Mapping[str, Any] | None = None,
        penalty: float = 0.0,
        k: int | None = None,
        top: int = 10,
        conflict: Claimants = "all",
        ignore: Ignore = "overlap",
        ignore_threshold: float = 0.5,
        score: Any = None,
    ) -> None:
        check_count("k", k, 1)
        check_count("top", top, 1)
        if not isinstance(penalty, Real) or not penalty >= 0:
            raise ValueError(f"penalty: expected a number of at least 0, got {penalty!r}")
        check_choice("conflict", conflict, ("all", "holders"))
        check_choice("ignore", ignore, get_args(Ignore))
        self.costs = COSTS.build_weighted(costs or SIMOTA_COSTS)
        self.candidates = Region.of(candidates)
        self.own = Region.of(own)
        self.penalty = penalty
        self.k = k
        self.top = top
        self.conflict = conflict
        self.ignore = ignore
        self.ignore_threshold = ignore_threshold
        self.score = SCORES.build("sigmoid" if score is None else score)

    @property
    def needs(self) -> frozenset[str]:
        """Points and the strides of their cells, and what the cost terms and the score model need."""
        return frozenset({"points", "strides"}) | needs_of(self.score, *self.costs.values())

    @property
    def kind(self) -> tuple[Any, ...]:
        """What makes one choice of the parts another than the next, whatever their constants."""
        regions = (None if region is None else region.kind for region in (self.candidates, self.own))
        return DynamicK, *regions, tuple(self.costs), self.k is None

    @torch.no_grad()
    def __call__(self, predictions: Predictions, targets: Targets) -> Matches:
        if self.ignore == "compete" and targets.ignore_boxes is not None:
            return self._beside_rivals(predictions, targets)
        matches = _pairs(*self.owners(predictions, targets), predictions, targets)
        return with_ignored(matches, inside_ignored(prior_boxes(predictions, 1.0), targets, self.ignore_threshold))

    @torch.no_grad()
    def owners(self, predictions: Predictions, targets: Targets) -> tuple[Tensor, Tensor]:
        """(B, V) the one target of every sample that is looked at, BACKGROUND where it has none, and which these are."""
        samples, index = self._looked_at(binary(predictions, self.score), targets)
        background = cost_as_background(self.costs, samples)
        claims = self._claims(samples, targets, background)
        return self._settled(*claims, samples, targets, background), index

    def _beside_rivals(self, predictions: Predictions, targets: Targets) -> Matches:
        """The pairs of the targets, where ignore regions take samples too."""
        rivals = required("ignore_mask", targets.ignore_mask)
        boxes = torch.cat([targets.boxes, required("ignore_boxes", targets.ignore_boxes)], 1)
        labels = torch.cat([targets.labels, torch.zeros_like(rivals, dtype=torch.long)], 1)
        everyone = Targets(boxes, labels, torch.cat([targets.mask, rivals], 1))
        target, index = self.owners(predictions, everyone)
        rival = target >= targets.boxes.shape[1]
        won = torch.zeros(predictions.logits.shape[:2], dtype=torch.long, device=rival.device)
        won.scatter_add_(1, index, rival.long())
        matches = _pairs(target.masked_fill(rival, BACKGROUND), index, predictions, targets)
        return replace(matches, ignored=won > 0)

    def _looked_at(self, predictions: Predictions, targets: Targets) -> tuple[Predictions, Tensor]:
        """The samples that any target may take, side by side, and which they are, (B, V)."""
        images, count = predictions.logits.shape[:2]
        wanted = targets.mask.any(1, keepdim=True).expand(images, count)
        if self.candidates is not None:
            parts = parts_of(targets, count)
            held = [(self.candidates.holds(predictions, part) & part.mask[..., None]).any(1) for _, part in parts]
            wanted = torch.stack(held).any(0) if held else torch.zeros_like(wanted)
        if predictions.valid is not None:
            wanted = wanted & predictions.valid
        if self.candidates is None:
            every = torch.arange(count, device=wanted.device).expand(images, count)
            return replace(predictions, valid=wanted), every
        index, valid = packed(wanted)
        return samples_at(predictions, index, valid), index

    def _claims(self, samples: Predictions, targets: Targets, background: Tensor) -> tuple[Tensor, Tensor]:
        """(B, M, K) which samples each target finds cheapest, and (B, M, K) bool, which of them it takes."""
        images, count = samples.boxes.shape[:2]
        most = min(self.k or self.top, count)
        ranks = torch.arange(most, device=background.device)
        empty = ranks.new_zeros(images, 0, most)
        found = [(empty, empty.bool())]
        for _, part in parts_of(targets, count):
            overlap = overlaps(samples, part)
            cost, place = self._key(samples, part, overlap, background).topk(most, largest=False)
            found.append((place, (ranks < self._counts(overlap, samples)[..., None]) & cost.isfinite()))
        place, chosen = (torch.cat(column, 1) for column in zip(*found, strict=True))
        return place, chosen

    def _key(self, samples: Predictions, targets: Targets, overlap: Tensor, background: Tensor) -> Tensor:
        """(B, M, V) what pairs are chosen by, inf for those that must not be."""
        cost = cost_of_pairs(self.costs, samples, targets, overlap, background)
        if self.own is not None and self.penalty:
            outside = ~self.own.holds(samples, targets)
            cost = (
                cost.double() + self.penalty * outside
                if self.penalty < torch.inf
                else cost.masked_fill_(outside, torch.inf)
            )
        real = targets.mask[..., None] & required("valid", samples.valid)[:, None]
        return cost.masked_fill_(~(cost.isfinite() & real), torch.inf)

    def _counts(self, overlap: Tensor, samples: Predictions) -> Tensor:
        """(B, M) how many samples each target takes."""
        if self.k is not None:
            return torch.full((overlap.shape[0], overlap.shape[2]), self.k, device=overlap.device)
        valid = required("valid", samples.valid)[:, None]
        fit = torch.where(valid, overlap.transpose(1, 2), 0.0).nan_to_num_(nan=0.0)
        largest = fit.topk(min(self.top, fit.shape[-1])).values
        return largest.clamp(0, 1).sum(-1).long().clamp(min=1)

    def _settled(
        self, place: Tensor, chosen: Tensor, samples: Predictions, targets: Targets, background: Tensor
    ) -> Tensor:
        """(B, V) the one target of every sample, BACKGROUND where nobody takes it, given the claims (B, M, K)."""
        taken = place.flatten(1)
        target = torch.where(chosen, torch.arange(place.shape[1], device=place.device)[:, None], BACKGROUND).flatten(1)
        holders = torch.zeros_like(background, dtype=torch.long).scatter_add_(1, taken, chosen.flatten(1).long())
        result = torch.full_like(holders, BACKGROUND)
        result.scatter_reduce_(1, taken, target, "amax")  # of several any: they are settled below
        contested = holders > 1
        index, real = packed(contested)
        if not index.shape[1]:
            return result
        slot = (contested.cumsum(1) - 1).clamp(min=0)
        took = None if self.conflict == "all" else _taken_at(place, chosen, contested, slot, index.shape[1])
        owner = self._owners(samples_at(samples, index, real), targets, background.gather(1, index), took)
        return torch.where(contested, owner.gather(1, slot), result)

    def _owners(self, samples: Predictions, targets: Targets, background: Tensor, took: Tensor | None) -> Tensor:
        """(B, V) the target that each sample costs least, of those that took it (B, M, V) or of all (None).

        Of equal costs, as targets of one class have where a box meets neither, the one with the nearer centre.
        """
        shape = samples.boxes.shape[:2]
        lowest, nearest = samples.boxes.new_full((2, *shape), torch.inf, dtype=torch.float64)
        owner = torch.zeros(shape, dtype=torch.long, device=lowest.device)
        for start, part in parts_of(targets, shape[1]):
            key = self._key(samples, part, overlaps(samples, part), background)
            if took is not None:
                key = key.masked_fill(~took[:, start : start + key.shape[1]], torch.inf)
            cost = key.amin(1)
            distance = squared_distances(center(part.boxes), samples.all_points)
            distance, first = distance.masked_fill(key > cost[:, None], torch.inf).min(1)
            better = (cost < lowest) | ((cost == lowest) & (distance < nearest))
            lowest, nearest = torch.where(better, cost, lowest), torch.where(better, distance, nearest)
            owner = torch.where(better, first + start, owner)
        return owner


def _pairs(target: Tensor, index: Tensor, predictions: Predictions, targets: Targets) -> Matches:
    """The pairs, scored by their IoUs, of samples that an index (B, V) names and their targets (B, V) or BACKGROUND."""
    image, place = target.ge(0).nonzero(as_tuple=True)
    matches = Matches(image, index[image, place], target[image, place], predictions.boxes.new_ones(len(image)))
    return replace(matches, score=predicted_iou(predictions, targets, matches))


def _taken_at(place: Tensor, chosen: Tensor, contested: Tensor, slot: Tensor, count: int) -> Tensor:
    """(B, M, count) bool, which contested samples each target took, given the claims (B, M, K) and their slots (B, V)."""
    taken = place.flatten(1)
    chosen = chosen & contested.gather(1, taken).view_as(chosen)
    at = torch.where(chosen, slot.gather(1, taken).view_as(place), count)  # what is none of them goes behind the last
    result = torch.zeros(*place.shape[:2], count + 1, dtype=torch.bool, device=place.device)
    return result.scatter_(2, at, True)[..., :count]


def binary(predictions: Predictions, score: Any) -> Predictions:
    """Predictions whose logits (B, N, C) are those of the score model's P, each class by itself.

    A second branch that is part of P is left out, another one kept.
    """
    if not score.background_column and not score.uses_objectness:
        return predictions
    scores = score(predictions)
    log_absent = scores.log_absent
    logits = scores.probability.clamp(min=torch.finfo(log_absent.dtype).tiny).log() - log_absent
    logits = torch.where(predictions.logits[..., : logits.shape[-1]].isnan(), torch.nan, logits)
    return replace(predictions, logits=logits, objectness=None if score.uses_objectness else predictions.objectness)


def parts_of(targets: Targets, samples: int) -> Iterator[tuple[int, Targets]]:
    """The targets in parts of so many as may be compared with all samples at a time, each with where it begins."""
    images, count = targets.mask.shape
    step = max(PAIRS_IN_CACHE // max(images * samples, 1), 1)
    for start in range(0, count, step):
        yield start, targets.part(start, start + step)


def packed(flags: Tensor) -> tuple[Tensor, Tensor]:
    """Where flags (B, N) are set, side by side: the index (B, V) of the set ones, and which of these are none (False).

    The host waits once, for V.
    """
    counts = flags.sum(1)
    most = int(counts.max()) if len(counts) else 0
    place = torch.arange(flags.shape[1], device=flags.device).expand_as(flags)
    rank = torch.where(flags, flags.cumsum(1) - 1, most)  # what is not set goes behind the last
    index = place.new_zeros(len(flags), most + 1).scatter_(1, rank, place)[:, :most]
    return index, torch.arange(most, device=flags.device) < counts[:, None]


def samples_at(predictions: Predictions, index: Tensor, valid: Tensor) -> Predictions:
    """The samples (B, V) of an index, of which some are valid, without levels."""
    image = torch.arange(len(index), device=index.device)[:, None]
    per_image = ("logits", "boxes", "objectness", "distribution")
    parts = {f.name: getattr(predictions, f.name) for f in fields(predictions)}
    parts |= {name: None if parts[name] is None else parts[name][image, index] for name in per_image}
    for name, at in (("points", "points_at"), ("strides", "strides_at"), ("priors", "priors_at")):
        parts[name] = None if parts[name] is None else getattr(predictions, at)(image.expand_as(index), index)
    return Predictions(**{**parts, "level_sizes": None, "valid": valid})


@MATCHINGS.register("simota")
def simota(
    radius: float = 1.5,
    top: int = 10,
    penalty: float = 1e6,
    costs: Mapping[str, Any] | None = None,
    ignore_threshold: float = 0.5,
    score: Any = None,
) -> DynamicK:
    """SimOTA as YOLOX has had it since 2023: candidates in the centre squares, whether they lie in a box or not.

    Args:
        radius: half side of the centre square, strides.
        top, penalty, ignore_threshold, score: as of `DynamicK`.
        costs: in place of binary cross entropy 1, -log IoU 3.
    """
    square = Region(inside=False, radius=radius)
    return DynamicK(
        costs or SIMOTA_COSTS, square, square, penalty, None, top, "all", "overlap", ignore_threshold, score
    )


@MATCHINGS.register("simota_v1")
def simota_v1(
    radius: float = 2.5,
    top: int = 10,
    penalty: float = 1e5,
    costs: Mapping[str, Any] | None = None,
    ignore_threshold: float = 0.5,
    score: Any = None,
) -> DynamicK:
    """SimOTA of YOLOX 0.1 to 0.3 and of mmdet: candidates in a box or a square, free of penalty in its own box and square.

    Args:
        radius: half side of the centre square, strides.
        top, penalty, ignore_threshold, score: as of `DynamicK`.
        costs: in place of binary cross entropy 1, -log IoU 3.
    """
    either, both = Region(radius=radius, either=True), Region(radius=radius)
    return DynamicK(costs or SIMOTA_COSTS, either, both, penalty, None, top, "all", "overlap", ignore_threshold, score)


@MATCHINGS.register("dynamic_soft_label")
def dynamic_soft_label(
    top: int = 13, costs: Mapping[str, Any] | None = None, ignore_threshold: float = 0.5, score: Any = None
) -> DynamicK:
    """RTMDet's matching: any sample inside any box, at no penalty outside its own.

    Args:
        top, ignore_threshold, score: as of `DynamicK`.
        costs: in place of soft label 1, -log IoU 3, centre distance 1.
    """
    costs = costs or SOFT_LABEL_COSTS
    return DynamicK(costs, Region(), top=top, ignore_threshold=ignore_threshold, score=score)


@MATCHINGS.register("lla")
def lla(
    k: int = 10,
    penalty: float = 1e3,
    costs: Mapping[str, Any] | None = None,
    ignore: Ignore = "compete",
    ignore_threshold: float = 0.5,
    score: Any = None,
) -> DynamicK:
    """LLA's matching: the ten cheapest samples of the image, with a penalty on those outside the box.

    Args:
        k, penalty, ignore, ignore_threshold, score: as of `DynamicK`.
        costs: in place of focal loss 1, -log IoU 1.5.
    """
    own = Region(margin=0.01)
    costs = costs or TRANSPORT_COSTS
    return DynamicK(costs, own=own, penalty=penalty, k=k, ignore=ignore, ignore_threshold=ignore_threshold, score=score)
