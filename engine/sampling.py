"""Which images an epoch has, and in which order."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sized
from itertools import islice
from typing import Any

import numpy as np
import torch
from mmengine.dataset import DefaultSampler
from torch import Tensor
from torch.utils.data import DataLoader

from ..data.table import Table

__all__ = ["Shuffled", "epoch_images", "epoch_steps", "repeat_factors", "steps_in_all"]


class Shuffled(DefaultSampler):
    """mmengine's, in an order that depends on the seed and the epoch alone, for at most so many steps in all.

    Args:
        dataset: of the images.
        seed: of the order.
        batch_size: of this process.
        steps: after which the last epoch is cut short; None has whole epochs alone.
        factors: how often an image comes in an epoch, in the mean (images,); None: once.
    """

    def __init__(
        self, dataset: Sized, seed: int, batch_size: int, steps: int | None = None, factors: Tensor | None = None
    ) -> None:
        super().__init__(dataset, shuffle=True, seed=seed)
        self.steps, self.batch_size, self.factors = steps, batch_size, factors
        if factors is not None:
            self.num_samples = math.ceil(_total(factors) / self.world_size)
            self.total_size = self.num_samples * self.world_size

    def __iter__(self) -> Iterator[int]:
        order = super().__iter__() if self.factors is None else iter(self._repeated(self.factors))
        if self.steps is None:
            return order
        before = self.epoch * epoch_steps(len(self), self.batch_size)
        return islice(order, max(self.steps - before, 0) * self.batch_size)

    def _repeated(self, factors: Tensor) -> list[int]:
        """This process's images of an epoch in which each comes about as often as its factor says."""
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        times = factors.floor() + (torch.rand(len(factors), generator=generator) < factors.frac())
        images = torch.arange(len(factors)).repeat_interleave(times.long())
        order = images[torch.randperm(len(images), generator=generator)]
        return order.repeat(-(-self.total_size // len(order)))[: self.total_size][self.rank :: self.world_size].tolist()


def repeat_factors(table: Table, least: float) -> Tensor:
    """LVIS's repeat factors (arXiv 1908.03195, appendix B): how often each image comes, (images,).

    A class that a share f of the images has asks for √(least / f) times, at least once; an image comes as often as the class
    of its objects that asks for most.

    Args:
        table: of a split's annotations; crowd regions do not count.
        least: share of the images below which a class is rare.
    """
    kept = ~table.crowd
    images, labels = np.unique(np.stack([table.owners[kept], table.labels[kept]]), axis=1)
    share = np.bincount(labels) / len(table.file_names)
    asked = np.sqrt(least / np.maximum(share, 1e-9)).clip(min=1)
    factors = np.ones(len(table.file_names))
    np.maximum.at(factors, images, asked[labels])
    return torch.from_numpy(factors)


def epoch_images(table: Table, settings: Mapping[str, Any]) -> int:
    """Images of an epoch under a config's input, those that come again counted."""
    least = settings.get("repeat_rare")
    return len(table.file_names) if least is None else _total(repeat_factors(table, least))


def epoch_steps(images: int, batch_size: int) -> int:
    """Steps of an epoch: whole batches, or the only one there is."""
    return max(images // batch_size, 1)


def steps_in_all(loader: DataLoader, epochs: int) -> int:
    """Steps of so many epochs, of which a loader may cut the last one short."""
    whole, most = epochs * len(loader), loader.sampler.steps
    return whole if most is None else min(whole, most)


def _total(factors: Tensor) -> int:
    return round(float(factors.sum()))
