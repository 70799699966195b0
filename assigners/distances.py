"""The distance of the box of every matched pair from its target, whatever it is measured from."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from .structures import Matches, Predictions, Targets

BoxLoss = Callable[[Tensor, Tensor], Tensor]


def pair_distances(distance: BoxLoss, predictions: Predictions, targets: Targets, matches: Matches) -> Tensor:
    """(P,) distance of each pair's box from its target; one with `of_pairs` takes more than two boxes in pixels."""
    of_pairs = getattr(distance, "of_pairs", None)
    if of_pairs is not None:
        return of_pairs(predictions, targets, matches)
    return distance(matches.predicted_boxes(predictions), matches.target_boxes(targets))
