"""Assigners that take over from one another while a training goes on (TOOD starts as ATSS)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from .assigner import Assigner
from .progress import Progress
from .structures import Assignment, Matches, Predictions, Targets


class Staged(nn.Module):
    """One assigner at a time, chosen by how much of the training is done; in every respect an `Assigner`.

    Args:
        stages: the assigners by the share of the training at which they start; the first is 0.

    Raises:
        ValueError: when no stage starts at 0, and when score models or branches differ, which a head cannot change.
    """

    def __init__(self, stages: Mapping[float, Assigner]) -> None:
        super().__init__()
        self.starts = sorted(stages)
        if not self.starts or self.starts[0] != 0 or self.starts[-1] >= 1:
            raise ValueError(f"stages: expected shares of the training from 0 to below 1, got {self.starts}")
        self.assigners = nn.ModuleList(stages[start] for start in self.starts)
        for name in ("score", "branch"):
            kinds = {type(getattr(assigner, name)).__name__ for assigner in self.assigners}
            if len(kinds) > 1:
                raise ValueError(f"stages: expected one {name} for all, got {', '.join(sorted(kinds))}")
        self.progress = Progress()

    @property
    def current(self) -> Assigner:
        """The assigner whose time it is."""
        return self.assigners[bisect_right(self.starts, self.progress.share) - 1]

    @property
    def needs(self) -> frozenset[str]:
        """What any of the stages needs."""
        return frozenset().union(*(assigner.needs for assigner in self.assigners))

    @property
    def cardinality(self) -> str:
        """That of the last stage, which inference meets."""
        return self.assigners[-1].cardinality

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

    @property
    def box_loss(self) -> Any:
        return self.current.box_loss

    @property
    def num_classes(self) -> int | None:
        return self.current.num_classes

    def inference_scores(self, predictions: Predictions) -> tuple[Tensor, Tensor | None]:
        """See `Assigner.inference_scores`."""
        return self.current.inference_scores(predictions)

    def match(self, predictions: Predictions, targets: Targets) -> Matches:
        """See `Assigner.match`."""
        return self.current.match(predictions, targets)

    def forward(self, predictions: Predictions, targets: Targets, matches: Matches | None = None) -> Assignment:
        """See `Assigner.forward`."""
        return self.current(predictions, targets, matches)

    def loss(self, predictions: Predictions, targets: Targets, matches: Matches | None = None) -> dict[str, Tensor]:
        """See `Assigner.loss`."""
        return self.current.loss(predictions, targets, matches)

    def assign_and_loss(
        self, predictions: Predictions, targets: Targets, matches: Matches | None = None
    ) -> tuple[Assignment, dict[str, Tensor]]:
        """See `Assigner.assign_and_loss`."""
        return self.current.assign_and_loss(predictions, targets, matches)
