"""Uniform matching: every object, large or small, takes as many samples (YOLOF)."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from ..boxes import center, iou, sides
from ..checks import check_choice, check_count
from ..registry import MATCHINGS
from ..structures import Matches, Predictions, Targets
from .pairs import inside_ignored, keep_best_target, prior_boxes, prior_boxes_at, real_pairs, target_chunks
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
        conflict: Literal["best", "last"] = "best",
        prior_scale: float = 4.0,
        ignore_threshold: float = 0.5,
    ) -> None:
        check_count("k", k, 1)
        check_choice("conflict", conflict, ("best", "last"))
        self.k = k
        self.positive_iou = positive_iou
        self.negative_iou = negative_iou
        self.conflict = conflict
        self.prior_scale = prior_scale
        self.ignore_threshold = ignore_threshold

    @torch.no_grad()
    def __call__(self, predictions: Predictions, targets: Targets) -> Matches:
        priors = prior_boxes(predictions, self.prior_scale)
        chosen, key = self.chosen(predictions, targets), None
        fits = chosen.score >= self.positive_iou
        if self.conflict == "last":  # what is written last decides, a pair or none
            kept = _last_of_sample(chosen, predictions) & fits
            refused = _last_of_sample(chosen, predictions) & ~fits
        else:
            kept, refused = fits, ~fits
            key = chosen.score
        ignored = self._fits_well(predictions, targets)
        crowd = inside_ignored(priors, targets, self.ignore_threshold)
        if crowd is not None:
            ignored = ignored | crowd
        lost = chosen.select(refused)
        ignored[lost.image, lost.sample] = True
        matches = chosen.select(kept)
        if key is not None:
            matches = keep_best_target(matches, key[kept], predictions, targets)
            matches = matches.select(_last_of_sample(matches, predictions))  # chosen by prediction and by anchor
        ignored[matches.image, matches.sample] = False
        return replace(matches, ignored=ignored)

    def chosen(self, predictions: Predictions, targets: Targets) -> Matches:
        """All that objects chose, in the order of the original: by rank, predictions of all objects, then anchors.

        A sample that is near by both is there twice, as is one of several objects; the score is the IoU of its anchor.
        """
        priors = prior_boxes(predictions, self.prior_scale)
        parts = [self._nearest(boxes, priors, predictions, targets) for boxes in (predictions.boxes, priors)]
        pairs = [torch.cat(column) for column in zip(*parts, strict=True)]
        by_anchor = torch.cat([torch.full_like(part[0], place) for place, part in enumerate(parts)])
        image, sample, target, score, rank = pairs
        place = ((rank * 2 + by_anchor) * targets.mask.shape[1] + target).argsort(stable=True)
        return Matches(image[place], sample[place], target[place], score[place])

    def _nearest(self, boxes: Tensor, priors: Tensor, predictions: Predictions, targets: Targets) -> tuple[Tensor, ...]:
        """Image, sample, target, IoU of the anchor and rank (P,) of the k samples of every object with the nearest boxes.

        Equal distances, which a grid of anchors is full of, are settled by that IoU, then by the distance of centres.
        """
        real, parts = real_pairs(predictions, targets), []
        for chunk in target_chunks(predictions, targets):
            cost = _l1(boxes[:, :, None], targets.boxes[:, None, chunk])
            cost = torch.where(real[..., chunk] & ~cost.isnan(), cost, torch.inf)
            cost = cost.expand(*predictions.logits.shape[:2], -1)
            nearest = cost.topk(min(self.k, cost.shape[1]), dim=1, largest=False)
            if self.conflict == "last":
                image, rank, target = nearest.values.isfinite().nonzero(as_tuple=True)
                sample = nearest.indices[image, rank, target]
            else:
                image, sample, target = ((cost <= nearest.values[:, -1:]) & cost.isfinite()).nonzero(as_tuple=True)
                rank = torch.zeros_like(sample)
            parts.append((image, sample, target + chunk.start, rank, cost[image, sample, target]))
        image, sample, target, rank, cost = (torch.cat(column) for column in zip(*parts, strict=True))
        overlap = iou(prior_boxes_at(priors, image, sample), targets.boxes[image, target])
        if self.conflict == "last":
            return image, sample, target, overlap, rank
        apart = (center(prior_boxes_at(priors, image, sample)) - center(targets.boxes[image, target])).square().sum(-1)
        order = apart.argsort(stable=True)
        order = order[overlap[order].argsort(descending=True, stable=True)]
        columns = [column[order] for column in (image, sample, target, overlap)]
        rank = rank_within(image[order] * targets.mask.shape[1] + target[order], -cost[order])
        kept = (rank < self.k).nonzero()[:, 0]
        return *(column[kept] for column in columns), rank[kept]

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
    return (center(boxes) - center(others)).abs().sum(-1) + (sides(boxes) - sides(others)).abs().sum(-1)


def _last_of_sample(matches: Matches, predictions: Predictions) -> Tensor:
    """(P,) bool, True for the last of the pairs of each sample."""
    slot = matches.image * predictions.logits.shape[1] + matches.sample
    place = torch.arange(len(slot), device=slot.device)
    last = place.new_full((predictions.logits[..., 0].numel(),), -1).scatter_reduce_(0, slot, place, "amax")
    return place == last[slot]
