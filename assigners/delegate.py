"""What passes for an assigner because one of several inside it answers."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from .assigner import Assigner
from .description import describe
from .needs import needs_of
from .structures import Assignment, Matches, Predictions, Targets


class Delegate(nn.Module):
    """Base of what holds `assigners` and lets one of them, `current`, answer for it as an `Assigner` does."""

    assigners: Any
    """A sequence of `Assigner`, which may be a `ModuleList`."""
    auxiliary: Any = None
    __repr__ = describe

    @property
    def current(self) -> Assigner:
        """The assigner that answers: the first where nothing else is said."""
        return self.assigners[0]

    @property
    def needs(self) -> frozenset[str]:
        """What any of them needs."""
        return needs_of(*self.assigners)

    @property
    def waits(self) -> int:
        """See `Assigner.waits`; of all that are asked in one step."""
        return sum(assigner.waits for assigner in self.assigners)

    @property
    def bins(self) -> int | None:
        """See `Assigner.bins`; the most that any of them wants."""
        return max((assigner.bins for assigner in self.assigners if assigner.bins), default=None)

    @property
    def cardinality(self) -> str:
        """See `Assigner.cardinality`."""
        return self.current.cardinality

    @property
    def matching(self) -> Any:
        return self.current.matching

    @property
    def weighting(self) -> Any:
        return self.current.weighting

    @property
    def score(self) -> Any:
        return self.current.score

    @property
    def branch(self) -> Any:
        return self.current.branch

    @branch.setter
    def branch(self, branch: Any) -> None:
        for assigner in self.assigners:
            assigner.branch = branch

    @property
    def box_loss(self) -> Any:
        return self.current.box_loss

    @property
    def num_classes(self) -> int | None:
        return self.current.num_classes

    def inference_scores(self, predictions: Predictions) -> tuple[Tensor, Tensor | None]:
        """See `Assigner.inference_scores`."""
        return self.current.inference_scores(predictions)

    def pair_scores(self, predictions: Predictions, matches: Matches, labels: Tensor) -> Tensor:
        """See `Assigner.pair_scores`."""
        return self.current.pair_scores(predictions, matches, labels)

    def match(self, predictions: Predictions, targets: Targets) -> Matches:
        """See `Assigner.match`."""
        return self.current.match(predictions, targets)

    def forward(self, predictions: Predictions, targets: Targets, matches: Matches | None = None) -> Assignment:
        """See `Assigner.forward`."""
        return self.current(predictions, targets, matches)

    def loss(self, predictions: Predictions, targets: Targets, matches: Matches | None = None) -> dict[str, Tensor]:
        """See `Assigner.loss`."""
        return self.assign_and_loss(predictions, targets, matches)[1]

    def assign_and_loss(
        self, predictions: Predictions, targets: Targets, matches: Matches | None = None
    ) -> tuple[Assignment, dict[str, Tensor]]:
        """See `Assigner.assign_and_loss`."""
        return self.current.assign_and_loss(predictions, targets, matches)
