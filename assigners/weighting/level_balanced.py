"""Levels that have had few positives so far weigh more (DDOD, arXiv 2107.02963, section 3.4)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ...ops.transfer import to_device
from ..normalizers import mean_over_ranks
from ..registry import WEIGHTINGS
from ..scores import Scores
from ..structures import Assignment, Matches, Predictions, Targets

MOST_LEVELS = 16
"""Of a pyramid: state in checkpoints has a fixed size."""


class LevelCounts(nn.Module):
    """How many positives each pyramid level has had since the training began, averaged over ranks; state of a checkpoint.

    DDOD's code keeps them for each process alone and in no checkpoint.
    """

    totals: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("totals", torch.zeros(MOST_LEVELS))

    def forward(self, matches: Matches, level_sizes: tuple[int, ...]) -> Tensor:
        """(L,) the totals, these matches included, which are kept while training.

        Raises:
            ValueError: for more levels than `MOST_LEVELS`.
        """
        levels = len(level_sizes)
        if levels > MOST_LEVELS:
            raise ValueError(f"level_sizes: expected at most {MOST_LEVELS} levels, got {levels}")
        level = level_of_samples(level_sizes, matches.sample.device)[matches.sample]
        counts = self.totals.new_zeros(levels)
        counts = mean_over_ranks(counts.index_add_(0, level, torch.ones_like(level, dtype=counts.dtype)))
        counts = counts + self.totals[:levels]
        if self.training:
            self.totals[:levels] = counts
        return counts


def _of_weighting(name: str, otherwise: Any = None) -> property:
    """What the weighting inside says of itself."""
    return property(lambda balanced: getattr(balanced.weighting, name, otherwise))


@WEIGHTINGS.register("level_balanced")
class LevelBalanced(nn.Module):
    """Another weighting, its weights times 2 − (n − min n) / (max n − min n) for the positives n of a sample's level.

    n counts from the start of the training on, this batch included. Samples without levels (queries) keep their weights.

    Args:
        weighting: a name, a dict or a callable.
        counts: the totals, when several weightings share them; None has them alone.
        num_classes: handed to `weighting` when it is given by name and is kept per class.
    """

    weighs_batches = True
    score_models = _of_weighting("score_models")
    cardinalities = _of_weighting("cardinalities")
    scale_invariant = _of_weighting("scale_invariant", True)
    box_weight = _of_weighting("box_weight")
    background_by_branch = _of_weighting("background_by_branch", False)
    num_classes = _of_weighting("num_classes")

    def __init__(
        self, weighting: Any = "focal", counts: LevelCounts | None = None, num_classes: int | None = None
    ) -> None:
        super().__init__()
        self.weighting = WEIGHTINGS.build(weighting, num_classes=num_classes)
        self.counts = LevelCounts() if counts is None else counts

    @property
    def needs(self) -> frozenset[str]:
        """What the weighting inside needs, and levels."""
        return frozenset({"level_sizes"}) | self.weighting.needs

    @property
    def kind(self) -> tuple[Any, ...]:
        """See `SoftTarget.kind`."""
        return LevelBalanced, getattr(self.weighting, "kind", type(self.weighting))

    def forward(self, predictions: Predictions, targets: Targets, matches: Matches, scores: Scores) -> Assignment:
        assignment = self.weighting(predictions, targets, matches, scores)
        if predictions.level_sizes is None:
            return assignment
        factor = self._factors(matches, predictions.level_sizes).to(assignment.positive)
        of_pairs = factor[matches.sample]
        background = assignment.background
        return replace(
            assignment,
            positive=assignment.positive * of_pairs,
            negative=assignment.pushes.times(factor),
            box=assignment.box * of_pairs,
            background=None if background is None else background * factor,
        )

    def _factors(self, matches: Matches, level_sizes: tuple[int, ...]) -> Tensor:
        """(N,) the factor of every sample's level."""
        counts = self.counts(matches, level_sizes)
        least, most = counts.aminmax()
        factors = 2 - (counts - least) / (most - least + 1e-10)
        return factors[level_of_samples(level_sizes, factors.device)]


def level_of_samples(level_sizes: tuple[int, ...], device: torch.device) -> Tensor:
    """(N,) the level of every sample.

    >>> level_of_samples((3, 1), torch.device("cpu")).tolist()
    [0, 0, 0, 1]
    """
    return to_device(torch.arange(len(level_sizes)).repeat_interleave(torch.tensor(level_sizes)), device)
