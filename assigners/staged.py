"""Assigners that take over from one another while a training goes on (TOOD starts as ATSS)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping

from torch import nn

from .assigner import Assigner
from .delegate import Delegate
from .progress import Progress


class Staged(Delegate):
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
    def stages(self) -> dict[float, Assigner]:
        """The assigners by the share of the training at which they start."""
        return dict(zip(self.starts, self.assigners, strict=True))

    @property
    def current(self) -> Assigner:
        """The assigner whose time it is."""
        return self.assigners[bisect_right(self.starts, self.progress.share) - 1]

    @property
    def waits(self) -> int:
        """Those of the assigner whose time it is."""
        return self.current.waits

    @property
    def cardinality(self) -> str:
        """That of the last stage, which inference meets."""
        return self.assigners[-1].cardinality
