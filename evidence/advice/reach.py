"""What the sample points and anchors of a dense head can reach: objects for which rules of geometry alone leave no sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ...assigners import Assigner, Targets
from ..inspection.simulation import empty_pyramid
from .facts import Facts

__all__ = ["IMAGES", "Reach", "reach"]

IMAGES = 100  # looked at, spread evenly: enough to tell a percent from three
SIZES = ("small", "medium", "large")  # below 32², below 96² and above, pixels of area at the input


@dataclass(frozen=True)
class Reach:
    """What a matching makes of the objects of a sample of images.

    Attributes:
        objects: how many, by size at the input.
        missed: how many of these get no sample, by size.
        samples: mean number of samples of an object.
    """

    objects: dict[str, int]
    missed: dict[str, int]
    samples: float

    @property
    def share_missed(self) -> float:
        """Of all objects."""
        return sum(self.missed.values()) / max(sum(self.objects.values()), 1)


@torch.no_grad()
def reach(facts: Facts, side: int, strides: Sequence[int], assigner: Assigner, images: int = IMAGES) -> Reach:
    """What an assigner's matching gives to objects in images that fit into a square of `side` pixels.

    Args:
        facts: of the split.
        side: pixels.
        strides: of the pyramid's levels, pixels.
        assigner: whose matching looks at points and boxes alone, not at predictions.
        images: so many at most, spread evenly over those with objects.
    """
    held = np.unique(facts.owners)
    chosen = held[np.unique(np.linspace(0, len(held) - 1, images).astype(int))] if len(held) else held
    counts, areas = [np.zeros(0, int)], [np.zeros(0)]
    for image in chosen.tolist():
        factor, own = facts.factors(side)[image], facts.owners == image
        boxes = torch.tensor(facts.boxes[own] * factor, dtype=torch.float32)
        width, height = (max(round(length * factor), 1) for length in facts.image_sizes[image].tolist())
        size = torch.tensor([[float(width), float(height)]])
        targets = Targets.from_lists([boxes], [torch.tensor(facts.labels[own])], sizes=size)
        pyramid = empty_pyramid((height, width), strides, len(facts.classes))
        matches = assigner.matching(pyramid, targets)
        counts.append(np.bincount(matches.target.numpy(), minlength=len(boxes)))
        areas.append((boxes[:, 2:] - boxes[:, :2]).prod(1).numpy())
    count, kind = np.concatenate(counts), np.digitize(np.concatenate(areas), (32**2, 96**2))
    objects = {size: int((kind == index).sum()) for index, size in enumerate(SIZES)}
    missed = {size: int(((kind == index) & (count == 0)).sum()) for index, size in enumerate(SIZES)}
    return Reach(objects, missed, float(count.mean()) if len(count) else 0.0)
