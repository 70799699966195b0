"""A further loss on the predictions of one head: that of another assigner (DeFCN, arXiv 2012.03544, section 3.4)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from .assigner import Assigner
from .delegate import Delegate
from .structures import Assignment, Matches, Predictions, Targets


class AuxiliaryLoss(Delegate):
    """An assigner, and beside it the loss of another one on the same predictions, whose names end in `_aux`.

    In every other respect the first. The other may learn classes alone, with `box_loss=None`.

    Args:
        main: the assigner that matches, weighs and detects.
        other: the one whose loss is added.
        weight: of that loss.

    Raises:
        ValueError: for a negative weight.
    """

    def __init__(self, main: Assigner, other: Assigner, weight: float = 1.0) -> None:
        super().__init__()
        if not weight >= 0:
            raise ValueError(f"weight: expected a number of at least 0, got {weight}")
        self.main = main
        self.other = other
        self.weight = weight

    @property
    def assigners(self) -> tuple[Assigner, Assigner]:
        """Both, the main one first."""
        return self.main, self.other

    @property
    def branch(self) -> Any:
        """That of the main assigner; the other trains its own, if any."""
        return self.main.branch

    @branch.setter
    def branch(self, branch: Any) -> None:
        self.main.branch = branch

    def assign_and_loss(
        self, predictions: Predictions, targets: Targets, matches: Matches | None = None
    ) -> tuple[Assignment, dict[str, Tensor]]:
        """The main assigner's assignment, and the losses of both."""
        assignment, losses = self.main.assign_and_loss(predictions, targets, matches)
        others = self.other.loss(predictions, targets)
        return assignment, losses | {f"{name}_aux": self.weight * value for name, value in others.items()}
