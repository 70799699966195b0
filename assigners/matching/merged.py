"""Two matchings in one: the second gives objects to the samples that the first leaves (MS-DETR's merged pairs)."""

from __future__ import annotations

from typing import Any

import torch

from ..needs import needs_of
from ..registry import MATCHINGS
from ..structures import Matches, Predictions, Targets
from ..waits import waits_of
from .pairs import with_ignored
from .wrapping import Wrapping


@MATCHINGS.register("merged")
class Merged(Wrapping):
    """The pairs of one matching, and those of another whose samples have none.

    MS-DETR (arXiv 2401.03989): samples above a threshold, of which an object may have none, and a Hungarian matching, which
    serves every object. In its code, the option of that name is never passed on.

    Args:
        matching: the matching that goes first; a matching, its name, or a dict with its "type" and arguments.
        other: the one that fills up; likewise.
        score: the score model; an assigner offers its own.
        num_classes: handed to matchings that are given by name and are kept per class.
    """

    cardinality = "one-to-many"
    further_waits = 1  # for the pairs that are added

    def __init__(
        self, matching: Any = "thresholded", other: Any = "hungarian", score: Any = None, num_classes: int | None = None
    ) -> None:
        super().__init__()
        self.matching, self.other = (
            MATCHINGS.build(each, score=score, num_classes=num_classes) for each in (matching, other)
        )

    @property
    def needs(self) -> frozenset[str]:
        """What either matching needs."""
        return needs_of(self.matching, self.other)

    @property
    def scale_invariant(self) -> bool:
        return all(getattr(each, "scale_invariant", True) for each in (self.matching, self.other))

    @property
    def moves_others(self) -> bool:
        """A further object may take the sample that another one would fill up with."""
        return True

    @property
    def waits(self) -> int:
        """Those of both, and for the pairs that are added."""
        return waits_of(self.matching) + waits_of(self.other) + self.further_waits

    def forward(self, predictions: Predictions, targets: Targets) -> Matches:
        return merged(self.matching(predictions, targets), self.other(predictions, targets), predictions)


def merged(first: Matches, second: Matches, predictions: Predictions) -> Matches:
    """The pairs of the first, and those of the second whose samples have none there; each learns its class and its box."""
    taken = torch.zeros(predictions.logits.shape[:2], dtype=torch.bool, device=first.image.device)
    taken[first.image, first.sample] = True
    added = second.select(~taken[second.image, second.sample])
    parts = (
        torch.cat([getattr(each, name) for each in (first, added)]) for name in ("image", "sample", "target", "score")
    )
    return with_ignored(Matches(*parts, spared=first.spared), first.ignored)
