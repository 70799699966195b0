"""Two assigners for two heads on the same features: one head detects, the other only trains (YOLOv10, arXiv 2405.14458)."""

from __future__ import annotations

from torch import Tensor

from .assigner import Assigner
from .delegate import Delegate
from .progress import Progress
from .structures import Assignment, Matches, Predictions, Targets


class TwoHeaded(Delegate):
    """The assigner of the head that detects, and beside it that of a head that trains the features and is then left aside.

    In every respect the one-to-one assigner, except that the loss has the terms of the other head's predictions
    (`Predictions.auxiliary`) besides, their names ending in `_many`. Where predictions are of one head alone, so is the loss.

    Args:
        one_to_one: the assigner of the head that detects.
        one_to_many: the assigner of the head that only trains.
        weights: of their losses, in this order, when the training starts.
        final_weights: the same when it ends; between, they change evenly with `Progress`. None is as at the start.

    Raises:
        ValueError: for a negative weight or another number of weights than two.
    """

    def __init__(
        self,
        one_to_one: Assigner,
        one_to_many: Assigner,
        weights: tuple[float, float] = (1.0, 1.0),
        final_weights: tuple[float, float] | None = None,
    ) -> None:
        super().__init__()
        for name, pair in (("weights", weights), ("final_weights", final_weights or weights)):
            if len(pair) != 2 or min(pair) < 0:
                raise ValueError(f"{name}: expected two numbers of at least 0, got {pair!r}")
        self.one_to_one = one_to_one
        self.one_to_many = one_to_many
        self.weights = tuple(weights)
        self.final_weights = None if final_weights is None else tuple(final_weights)
        self.progress = Progress()

    @property
    def assigners(self) -> tuple[Assigner, Assigner]:
        """Both, the one-to-one first."""
        return self.one_to_one, self.one_to_many

    @property
    def auxiliary(self) -> Assigner:
        """The one-to-many assigner, that of the head that only trains."""
        return self.one_to_many

    @property
    def needs(self) -> frozenset[str]:
        """What the one-to-one assigner needs of its own head."""
        return self.current.needs

    @property
    def current_weights(self) -> tuple[float, ...]:
        """Of the losses of both, one-to-one first, at this point of the training."""
        share, last = self.progress.share, self.final_weights or self.weights
        return tuple((1 - share) * first + share * final for first, final in zip(self.weights, last, strict=True))

    def assign_and_loss(
        self, predictions: Predictions, targets: Targets, matches: Matches | None = None
    ) -> tuple[Assignment, dict[str, Tensor]]:
        """The assignment of the head that detects, and the losses of both."""
        assignment, losses = self.current.assign_and_loss(predictions, targets, matches)
        if predictions.auxiliary is None:
            return assignment, losses
        others = self.auxiliary.loss(predictions.auxiliary, targets)
        own, other = self.current_weights
        weighted = {name: own * value for name, value in losses.items()}
        return assignment, weighted | {f"{name}_many": other * value for name, value in others.items()}
