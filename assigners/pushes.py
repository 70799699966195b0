"""w⁻, how strongly every sample is pushed away from every class, and what the loss makes of it.

Nearly every scheme has P^gamma for it everywhere but at a few entries, those of pairs. So it need not be there as a whole, nor
what its gradient would keep: `Focal` sums it in pieces.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from .scores import Scores
    from .structures import Matches, Targets


@dataclass(frozen=True, eq=False)
class Entries:
    """Classes of samples that pairs claim, in the order of the pairs; several pairs may claim the same.

    Attributes:
        index: image, sample and class, each (K,).
        first: (K,) the place of the first pair of the same sample and class.
        log_absent: (K,) log(1 − P), with gradient.
    """

    index: tuple[Tensor, Tensor, Tensor]
    first: Tensor
    log_absent: Tensor

    @classmethod
    def of(cls, matches: Matches, targets: Targets, scores: Scores) -> Entries:
        """Those of all pairs."""
        index, shape = (matches.image, matches.sample, matches.labels(targets)), scores.shape
        slot = (index[0] * shape[1] + index[1]) * shape[2] + index[2]
        return cls(index, first_of(slot, shape.numel()), scores.log_absent_at(*index))

    @property
    def once(self) -> Tensor:
        """(K,) bool, True for one pair of each sample and class."""
        return is_first(self.first)

    def settled(self, values: Tensor, reduction: str) -> Tensor:
        """(K,) one value, at least 0, for all pairs that share sample and class; the reduction is that of `scatter_reduce`."""
        result = torch.zeros_like(values)
        return result.scatter_reduce_(0, self.first, values, reduction, include_self=False)[self.first]

    def last(self, values: Tensor, target: Tensor) -> Tensor:
        """Likewise, the value of the last target (K,)."""
        return self.settled(torch.where(target == self.settled(target, "amax"), values, 0), "amax")


@dataclass(frozen=True, eq=False)
class Given:
    """w⁻ as a tensor (B, N, C)."""

    dense: Tensor

    @property
    def shape(self) -> torch.Size:
        """(B, N, C)."""
        return self.dense.shape

    def losses(self, scores: Scores) -> Tensor:
        """(B,) sums of w⁻ (−log(1 − P))."""
        return weighted(self.dense, -scores.log_absent).flatten(1).sum(1)

    def times(self, factor: Tensor) -> Given:
        """With the samples' weights multiplied by a factor (N,)."""
        return Given(self.dense * factor[:, None])

    def without(self, entries: Tensor) -> Given:
        """With zeros where entries (B, N, C) are True."""
        return Given(self.dense.masked_fill(entries, 0))


@dataclass(frozen=True, eq=False)
class Focal:
    """w⁻ = scale P^gamma, but at some entries values of their own; read as `Given`.

    Attributes:
        scores: whose P.
        scale: (B, N), without gradient.
        gamma: exponent.
        silent: (B, N, C) bool, True at the entries and wherever else w⁻ is zero.
        entries: with values of their own.
        values: (K,), with gradient where they have one; those of one entry add up.
        detach: let P^gamma have no gradient; then w⁻ is summed as a whole.
        among: image and sample, each (K,), of all samples whose scale is not zero; None is any.
    """

    scores: Scores
    scale: Tensor
    gamma: float
    silent: Tensor
    entries: Entries
    values: Tensor
    detach: bool = False
    among: tuple[Tensor, Tensor] | None = None

    @classmethod
    def around(
        cls,
        entries: Entries,
        values: Tensor,
        scores: Scores,
        scale: float,
        gamma: float,
        keep: Tensor,
        detach: bool = False,
        among: tuple[Tensor, Tensor] | None = None,
    ) -> Focal:
        """The values at the entries, the same for all pairs that share one, and scale P^gamma around them.

        Args:
            entries, values, scores, gamma, detach, among: see the attributes.
            scale: of all samples.
            keep: (B, N, 1) or a scalar, what all weights of a sample are multiplied by (see `countable`).
        """
        shape = scores.shape
        silent = torch.zeros(shape, dtype=torch.bool, device=keep.device)
        silent[entries.index] = True
        kept = keep.expand(*shape[:2], 1)[..., 0]
        values = values * entries.once * kept[entries.index[:2]]
        return cls(scores, scale * kept, gamma, silent, entries, values, detach, among)

    @property
    def shape(self) -> torch.Size:
        return self.silent.shape

    @cached_property
    def dense(self) -> Tensor:
        probability = self.scores.probability.detach() if self.detach else self.scores.probability
        background = (self.scale[..., None] * power(probability, self.gamma)).masked_fill(self.silent, 0)
        return background.index_put(self.entries.index, self.values, accumulate=True)

    def losses(self, scores: Scores) -> Tensor:
        if self.detach:
            return Given(self.dense).losses(scores)
        among = self.among
        background = scores.absent.summed(self._summand) if among is None else self._sums_among(among, scores)
        of_entries = weighted(self.values, -self.entries.log_absent)
        return background.index_put(self.entries.index[:2], of_entries, accumulate=True).sum(1)

    def _sums_among(self, among: tuple[Tensor, Tensor], scores: Scores) -> Tensor:
        """(B, N) sums over classes, looking only at the samples that have a scale."""
        image, sample = among
        once = is_first(first_of(image * self.shape[1] + sample, self.scale.numel()))
        some = replace(self, scale=self.scale[among] * once, silent=self.silent[among][None])
        sums = scores.absent.picked(image, sample).summed(some._summand)[0]
        nothing = torch.zeros_like(self.scale).masked_fill(scores.absent.broken(), torch.nan)
        return nothing.index_put(among, sums, accumulate=True)

    def _summand(self, log_absent: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
        """Row sums of scale P^gamma (−log(1 − P)), and its derivatives by log(1 − P)."""
        log_absent = log_absent.clamp(min=-torch.finfo(log_absent.dtype).max)  # as `weighted` has it
        probability = -torch.expm1(log_absent).nan_to_num_(nan=0.0)
        probability.clamp_(min=torch.finfo(log_absent.dtype).tiny)  # whose powers are finite
        part = power(probability, self.gamma - 1).mul_(self.scale.flatten()[rows, None])
        part.masked_fill_(self.silent.flatten(0, 1)[rows], 0)
        sums = (part * probability * log_absent).sum(-1).neg_()
        by_power = (1 - probability).mul_(log_absent).mul_(self.gamma)
        return sums, part.mul_(by_power.sub_(probability))

    def times(self, factor: Tensor) -> Focal:
        return replace(self, scale=self.scale * factor, values=self.values * factor[self.entries.index[1]])

    def without(self, entries: Tensor) -> Focal:
        return replace(
            self, silent=self.silent | entries, values=self.values.masked_fill(entries[self.entries.index], 0)
        )


Pushes = Given | Focal
"""w⁻ of a batch."""


def weighted(weight: Tensor, value: Tensor) -> Tensor:
    """weight * value, where a weight of zero silences an infinite value but never one that is not a number."""
    largest = torch.finfo(value.dtype).max
    return weight * value.clamp(-largest, largest)


def power(values: Tensor, exponent: float) -> Tensor:
    """values ** exponent, and plain ones for exponent 0, whose derivative is not a number at 0."""
    return values**exponent if exponent else torch.ones_like(values)


def first_of(slot: Tensor, slots: int) -> Tensor:
    """(K,) the place of the first that has the same slot (K,), of so many."""
    place = torch.arange(len(slot), device=slot.device)
    return place.new_empty(slots).scatter_reduce_(0, slot, place, "amin", include_self=False)[slot]


def is_first(first: Tensor) -> Tensor:
    """(K,) bool, whether each is the first of its slot, from `first_of`."""
    return first == torch.arange(len(first), device=first.device)
