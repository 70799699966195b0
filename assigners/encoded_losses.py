"""Box losses on what heads encode boxes as: smooth L1 of deltas from an anchor, or of logs of side distances.

A head may encode as it likes; here boxes in pixels are encoded for the loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import add

import torch
from torch import Tensor

from .boxes import center, side_distances, sides
from .matching.pairs import prior_boxes, prior_boxes_at
from .registry import BOX_LOSSES
from .structures import Matches, Predictions, Targets

LEAST_RATIO = 1e-3  # of a predicted side and the anchor's: the log of a box without area is defined


@BOX_LOSSES.register("delta")
class DeltaLoss:
    """Smooth L1 of the Faster R-CNN code (arXiv 1506.01497, eq. 2), sum over the four deltas.

    Args:
        beta: where the loss turns from a parabola to a line.
        deviations: what the deltas of centre x, centre y, width and height are divided by.
        prior_scale: side of the squares, in strides, that take the place of anchors on heads without any.
    """

    needs = frozenset({"points", "strides"})

    def __init__(
        self, beta: float = 0.11, deviations: Sequence[float] = (0.1, 0.1, 0.2, 0.2), prior_scale: float = 4.0
    ) -> None:
        self.beta = beta
        self.deviations = tuple(deviations)
        self.prior_scale = prior_scale

    def of_pairs(self, predictions: Predictions, targets: Targets, matches: Matches) -> Tensor:
        """(P,) loss of each pair."""
        priors = prior_boxes_at(prior_boxes(predictions, self.prior_scale), matches.image, matches.sample)
        boxes = matches.predicted_boxes(predictions), matches.target_boxes(targets)
        predicted, wanted = (deltas(each, priors) for each in boxes)
        apart = zip((predicted - wanted).unbind(-1), self.deviations, strict=True)
        return reduce(add, (smooth_l1(delta * (1 / deviation), self.beta) for delta, deviation in apart))


@BOX_LOSSES.register("log_sides")
class LogSidesLoss:
    """Smooth L1 of the logs of the four side distances (FoveaBox, arXiv 1904.03797, eq. 4), their sum.

    Args:
        beta: where the loss turns from a parabola to a line.
        least, largest: distances of the object count as within so many `unit`s, those of the prediction as at least
            `least` / 1000 of it.
        unit: pixels per stride that a distance is measured in: FoveaBox's base edge is 2 strides.
    """

    needs = frozenset({"points", "strides"})

    def __init__(self, beta: float = 0.11, least: float = 1 / 16, largest: float = 16.0, unit: float = 2.0) -> None:
        self.beta = beta
        self.least = least
        self.largest = largest
        self.unit = unit

    def of_pairs(self, predictions: Predictions, targets: Targets, matches: Matches) -> Tensor:
        """(P,) loss of each pair."""
        at = matches.image, matches.sample
        points, unit = predictions.points_at(*at), self.unit * predictions.strides_at(*at)[:, None]
        predicted = side_distances(points, matches.predicted_boxes(predictions)) / unit
        wanted = side_distances(points, matches.target_boxes(targets)) / unit
        logs = predicted.clamp(min=self.least * LEAST_RATIO).log(), wanted.clamp(self.least, self.largest).log()
        return smooth_l1(logs[0] - logs[1], self.beta).sum(-1)


def deltas(boxes: Tensor, priors: Tensor) -> Tensor:
    """Boxes (P, 4) xyxy relative to priors (P, 4) xyxy: centre offsets by their sides, logs of side ratios -> (P, 4)."""
    size = sides(priors)
    ratio = (sides(boxes) / size).clamp(min=LEAST_RATIO)
    return torch.cat([(center(boxes) - center(priors)) / size, ratio.log()], -1)


def smooth_l1(difference: Tensor, beta: float) -> Tensor:
    """d^2 / (2 beta) up to |d| = beta, |d| - beta / 2 from there (Fast R-CNN, arXiv 1504.08083, eq. 3).

    >>> smooth_l1(torch.tensor([-1.0, 0.5]), beta=1.0)
    tensor([0.5000, 0.1250])
    """
    size = difference.abs()
    return torch.where(size < beta, size.square() / (2 * beta), size - beta / 2)
