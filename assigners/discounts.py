"""How much less a sample is pushed away from the class of an object that its box fits.

Each is a callable (predictions, targets, matches) -> pairs of samples and objects whose score h in [0, 1], without
gradient, is the share of P that counts as the object's and is not pushed down. A box that is not a number has none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from .boxes import iou
from .matching.pairs import found_in_parts, real_pairs, target_chunks
from .registry import DISCOUNTS
from .structures import Matches, Predictions, Targets

TINY = 1e-12  # keeps fractions defined, as in the original


@DISCOUNTS.register("relative_fit")
class RelativeFit:
    """h = 1 / (1 − IoU), stretched to 0 … 1 over the samples of each object (AutoAssign, arXiv 2007.03496, eq. 10).

    A sample's IoU is the largest with any object of its image. Where all of an object's samples are alike, or there is one, h
    is 1 and none is pushed down.
    """

    def __call__(self, predictions: Predictions, targets: Targets, matches: Matches) -> Matches:
        overlap = largest_iou(predictions, targets)[matches.image, matches.sample]
        fit = 1 / (1 - overlap).clamp(min=TINY)
        group, groups = matches.flat_target(targets), targets.mask.numel()
        low, high = (
            fit.new_zeros(groups).scatter_reduce(0, group, fit, reduce, include_self=False)[group]
            for reduce in ("amin", "amax")
        )
        return replace(matches, score=(fit - low + TINY) / (high - low + TINY))


@DISCOUNTS.register("ramp")
class Ramp:
    """h rises from 0 at IoU `threshold` to 1 at the best that any prediction has with the object (FreeAnchor, eq. 9).

    Every sample counts, in the object's bag or not; an object that no prediction fits better than the threshold spares none.

    Args:
        threshold: the IoU from which on NMS takes two boxes for one (FreeAnchor 0.6).
    """

    def __init__(self, threshold: float = 0.6) -> None:
        self.threshold = threshold

    def __call__(self, predictions: Predictions, targets: Targets, matches: Matches) -> Matches:
        parts = []
        for start, overlap in overlaps(predictions, targets):
            reach = overlap.amax(1, keepdim=True) - self.threshold
            share = torch.where(reach > 0, (overlap - self.threshold) / reach, 0.0)
            image, sample, target = (share > 0).nonzero(as_tuple=True)
            parts.append((image, sample, target + start, share[image, sample, target]))
        return found_in_parts(parts)


def overlaps(predictions: Predictions, targets: Targets) -> Iterator[tuple[int, Tensor]]:
    """The IoU (B, N, m) of every predicted box with m objects, from the first of them on; as many as memory allows.

    It has no gradient, and is 0 with places without an object, for samples outside an image, and where a box is not a number.
    """
    predicted, real = predictions.boxes.detach()[:, :, None], real_pairs(predictions, targets)
    for chunk in target_chunks(predictions, targets):
        overlap = iou(predicted, targets.boxes[:, None, chunk]).nan_to_num(nan=0.0).clamp(0, 1)
        yield chunk.start, torch.where(real[..., chunk], overlap, 0.0)


def largest_iou(predictions: Predictions, targets: Targets) -> Tensor:
    """(B, N) the largest IoU of each predicted box with any object of its image, without gradient."""
    largest = predictions.boxes.new_zeros(predictions.logits.shape[:2])
    for _, overlap in overlaps(predictions, targets):
        if overlap.shape[-1]:
            largest = torch.maximum(largest, overlap.amax(-1))
    return largest
