"""Uniform matching: every object, large or small, takes as many samples (YOLOF)."""

from __future__ import annotations

from typing import get_args

import torch
from torch import Tensor

from ..boxes import center, iou, sides
from ..checks import check_choice, check_count
from ..registry import MATCHINGS
from ..structures import Matches, Predictions, Targets
from .pairs import (
    Conflict,
    inside_ignored,
    prior_boxes,
    prior_boxes_at,
    real_pairs,
    settle_conflicts,
    target_chunks,
    with_ignored,
)
from .top_k import rank_within


@MATCHINGS.register("uniform")
class Uniform:
    """The k samples whose predicted boxes and the k whose anchors are nearest by L1 of centre and sides, pixels.

    YOLOF (arXiv 2103.09460, section 4.2). A pair whose anchor overlaps the object too little is none, and its sample is ignored
    unless another object has it; so is a sample that is nobody's and whose prediction fits an object well. The score is the
    IoU of anchor and object.

    Args:
        k: samples of each object by prediction, and as many by anchor; one that is both is one pair.
        positive_iou: least IoU of a pair's anchor with the object.
        negative_iou: samples whose prediction overlaps any object more are not pushed down.
        conflict: a sample that several objects chose goes to the one that its anchor overlaps most ("best"), or to the last
            that the original's code writes ("last"), which depends on the order of objects and on how the device sorts.
        prior_scale: side of the squares, in strides, when the predictions have no anchor boxes.
        ignore_threshold: share of an anchor in an ignore region from which it is not pushed down; 0 switches off.

    Raises:
        ValueError: for a k below 1 and an unknown conflict.
    """

    cardinality = "one-to-many"
    needs = frozenset({"points", "strides"})

    def __init__(
        self,
        k: int = 4,
        positive_iou: float = 0.15,
        negative_iou: float = 0.7,
        conflict: Conflict = "best",
        prior_scale: float = 4.0,
        ignore_threshold: float = 0.5,
    ) -> None:
        check_count("k", k, 1)
        check_choice("conflict", conflict, get_args(Conflict))
        self.k = k
        self.positive_iou = positive_iou
        self.negative_iou = negative_iou
        self.conflict = conflict
        self.prior_scale = prior_scale
        self.ignore_threshold = ignore_threshold

    @torch.no_grad()
    def __call__(self, predictions: Predictions, targets: Targets) -> Matches:
        priors = prior_boxes(predictions, self.prior_scale)
        chosen = self.chosen(predictions, targets)
        kept, refused = self._settled(chosen, predictions, targets)
        ignored = self._fits_well(predictions, targets)
        crowd = inside_ignored(priors, targets, self.ignore_threshold)
        if crowd is not None:
            ignored = ignored | crowd
        ignored = ignored | (_last_of_sample(chosen, refused, predictions) >= 0)
        return with_ignored(chosen.select(kept), ignored)

    def chosen(self, predictions: Predictions, targets: Targets) -> Matches:
        """All that objects chose, in the order of the original: by rank, predictions of all objects, then anchors.

        A sample that is near by both is there twice, as is one of several objects; the score is the IoU of its anchor.
        """
        priors = prior_boxes(predictions, self.prior_scale)
        by_anchor, pairs, rank, cost = self._nearest(priors, predictions, targets)
        images, count = targets.mask.shape
        if self.conflict == "best":
            rank = _rank(pairs, (by_anchor * images + pairs.image) * count + pairs.target, cost, priors, targets)
        order = ((rank * 2 + by_anchor) * count + pairs.target).argsort(stable=True)
        return pairs.select(order[(rank < self.k)[order]])

    def _nearest(
        self, priors: Tensor, predictions: Predictions, targets: Targets
    ) -> tuple[Tensor, Matches, Tensor, Tensor]:
        """The k samples of every object with the nearest predictions, and those with the nearest anchors.

        (P,) 0 and 1 in this order, the pairs, their ranks and distances. Unless the last one written decides, all that are as
        near as the k-th are among them, and ranks are left open.
        """
        parts = []
        for chunk in target_chunks(predictions, targets):
            cost = torch.stack([_costs(boxes, predictions, targets, chunk) for boxes in (predictions.boxes, priors)])
            nearest = cost.topk(min(self.k, cost.shape[2]), dim=2, largest=False)
            if self.conflict == "last":
                by_anchor, image, rank, target = nearest.values.isfinite().nonzero(as_tuple=True)
                sample = nearest.indices[by_anchor, image, rank, target]
            else:
                near = (cost <= nearest.values[:, :, -1:]) & cost.isfinite()
                by_anchor, image, sample, target = near.nonzero(as_tuple=True)
                rank = torch.zeros_like(sample)
            parts.append((by_anchor, image, sample, target + chunk.start, rank, cost[by_anchor, image, sample, target]))
        by_anchor, image, sample, target, rank, cost = (torch.cat(column) for column in zip(*parts, strict=True))
        overlap = iou(prior_boxes_at(priors, image, sample), targets.boxes[image, target])
        return by_anchor, Matches(image, sample, target, overlap), rank, cost

    def _settled(self, chosen: Matches, predictions: Predictions, targets: Targets) -> tuple[Tensor, Tensor]:
        """(P,) which of the chosen are pairs, each once and one of a sample, and which leave their sample ignored."""
        fits = chosen.score >= self.positive_iou
        if self.conflict == "last":  # what is written last decides, a pair or none
            last = _is_last(chosen, torch.ones_like(fits), predictions)
            return last & fits, last & ~fits
        kept = settle_conflicts(chosen, fits, chosen.score, predictions, targets)
        return _is_last(chosen, kept, predictions), ~fits  # once, where it was chosen by prediction and by anchor

    def _fits_well(self, predictions: Predictions, targets: Targets) -> Tensor:
        """(B, N) bool, whose prediction overlaps an object more than `negative_iou`."""
        real = real_pairs(predictions, targets)
        fits = torch.zeros(predictions.logits.shape[:2], dtype=torch.bool, device=predictions.boxes.device)
        for chunk in target_chunks(predictions, targets):
            overlap = iou(predictions.boxes[:, :, None], targets.boxes[:, None, chunk])
            fits |= ((overlap > self.negative_iou) & real[..., chunk]).any(-1)
        return fits


def _l1(boxes: Tensor, others: Tensor) -> Tensor:
    """Sum of the absolute differences of centre and sides, broadcast (..., 4) and (..., 4) xyxy -> (...)."""
    measures = (torch.cat([center(each), sides(each)], -1).movedim(-1, 0).contiguous() for each in (boxes, others))
    x, y, width, height = ((one - other).abs_() for one, other in zip(*measures, strict=True))
    return x.add_(y) + width.add_(height)


def _costs(boxes: Tensor, predictions: Predictions, targets: Targets, chunk: slice) -> Tensor:
    """(B, N, m) distance of boxes (1 or B, N, 4) from some of the targets; infinite where there is no pair."""
    cost = _l1(boxes[:, :, None], targets.boxes[:, None, chunk])
    cost = torch.where(real_pairs(predictions, targets)[..., chunk] & ~cost.isnan(), cost, torch.inf)
    return cost.expand(*predictions.logits.shape[:2], -1)


def _rank(pairs: Matches, group: Tensor, cost: Tensor, priors: Tensor, targets: Targets) -> Tensor:
    """(P,) place of each pair in its group (P,), by rising cost (P,).

    Equal costs, which a grid of anchors is full of, are settled by the IoU of the anchor, then by the distance of centres.
    """
    anchors = prior_boxes_at(priors, pairs.image, pairs.sample)
    distance = (center(anchors) - center(pairs.target_boxes(targets))).square().sum(-1)
    return rank_within(group, -cost, pairs.score, -distance)


def _last_of_sample(pairs: Matches, among: Tensor, predictions: Predictions) -> Tensor:
    """(B, N) place of the last pair of each sample `among` (P,) some, -1 where there is none."""
    slot = pairs.image * predictions.logits.shape[1] + pairs.sample
    place = torch.where(among, torch.arange(len(slot), device=slot.device), -1)
    shape = predictions.logits.shape[:2]
    return place.new_full((shape.numel(),), -1).scatter_reduce_(0, slot, place, "amax").view(shape)


def _is_last(pairs: Matches, among: Tensor, predictions: Predictions) -> Tensor:
    """(P,) bool, the last of the pairs of each sample `among` (P,) some."""
    last = _last_of_sample(pairs, among, predictions)[pairs.image, pairs.sample]
    return last == torch.arange(len(last), device=last.device)
