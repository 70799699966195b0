"""Top-IoU matching: each object takes the k anchors that overlap it most, however little (the bag of FreeAnchor)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from ..boxes import iou, iou_or_gap
from ..checks import check_choice, check_count
from ..registry import MATCHINGS
from ..structures import Matches, Predictions, Targets
from .pairs import found_in_parts, inside_ignored, prior_boxes, real_pairs, target_chunks, with_ignored
from .top_k import nearest_of_best


@MATCHINGS.register("top_iou")
class TopIoU:
    """The k anchors of largest IoU, of all levels; the score is the IoU (FreeAnchor, arXiv 1909.02466, section 3.2).

    All anchors inside a large object overlap it alike: those nearest to its centre come first. Where fewer than k overlap it,
    the nearest by GIoU follow. Bags may share anchors.

    Args:
        k: anchors of each object.
        prior_scale: side of the squares, in strides, when the predictions have no anchor boxes.
        ties: "nearest" as above; "any" leaves equal IoUs, none at all included, to the order in which the device happens to
            sort, as the original does.
        ignore_threshold: share of an anchor in an ignore region from which it is not pushed down; 0 switches off.

    Raises:
        ValueError: for a k below 1 and an unknown `ties`.
    """

    cardinality = "one-to-many"
    needs = frozenset({"points", "strides"})

    def __init__(
        self,
        k: int = 50,
        prior_scale: float = 4.0,
        ties: Literal["nearest", "any"] = "nearest",
        ignore_threshold: float = 0.5,
    ) -> None:
        check_count("k", k, 1)
        check_choice("ties", ties, ("nearest", "any"))
        self.k = k
        self.prior_scale = prior_scale
        self.ties = ties
        self.ignore_threshold = ignore_threshold

    @torch.no_grad()
    def __call__(self, predictions: Predictions, targets: Targets) -> Matches:
        priors = prior_boxes(predictions, self.prior_scale)
        pairs = self._candidates(priors, predictions, targets)
        if self.ties == "nearest":
            pairs = pairs.select(nearest_of_best(pairs, self.k, priors, targets))
        pairs = Matches(pairs.image, pairs.sample, pairs.target, pairs.score.clamp(min=0))
        return with_ignored(pairs, inside_ignored(priors, targets, self.ignore_threshold))

    def _candidates(self, priors: Tensor, predictions: Predictions, targets: Targets) -> Matches:
        """The k best pairs of every object and, unless ties are settled here, all that are as good as the last of them."""
        real, parts = real_pairs(predictions, targets), []
        for chunk in target_chunks(predictions, targets):
            key = torch.where(
                real[..., chunk], self._key(priors[:, :, None], targets.boxes[:, None, chunk]), -torch.inf
            )
            best = key.expand(*predictions.logits.shape[:2], -1).topk(min(self.k, key.shape[1]), dim=1, sorted=False)
            if self.ties == "any":
                chosen = torch.zeros_like(real[..., chunk].expand_as(key)).scatter(1, best.indices, True)
            else:
                chosen = key >= best.values.amin(1, keepdim=True)
            image, sample, target = (chosen & real[..., chunk]).nonzero(as_tuple=True)
            parts.append((image, sample, target + chunk.start, key[image, sample, target]))
        return found_in_parts(parts)

    def _key(self, priors: Tensor, boxes: Tensor) -> Tensor:
        """IoU; where there is none, if nearness counts, GIoU − 1."""
        return iou(priors, boxes) if self.ties == "any" else iou_or_gap(priors, boxes)
