"""Hungarian matching: one sample for every object, at the least total cost (DETR, arXiv 2005.12872, eq. 1)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ...ops.linear_assignment import linear_assignment
from ...ops.transfer import to_device
from ..checks import AssignmentWarning
from ..costs import Cost
from ..needs import needs_of
from ..registry import COSTS, MATCHINGS
from ..structures import Matches, Predictions, Targets
from .pairs import real_pairs

FOCAL_COSTS = {"focal": 2.0, "l1": 5.0, "giou": 2.0}
SOFTMAX_COSTS = {"softmax": 1.0, "l1": 5.0, "giou": 2.0}


@MATCHINGS.register("hungarian")
class Hungarian:
    """Match samples and targets one to one at the least sum of weighted cost terms.

    All images, and all groups of stacked batches, are solved in one call; their costs, with the masks, go to the host in
    one copy. Every target gets a sample, or every valid sample a target where there are more targets. A cost that is not
    finite loses to every finite one, and the first time one comes up, a warning names layer, image and term.

    Args:
        costs: coefficient by term, or {"weight": coefficient, ...arguments} (see `detassign.assigners.costs`); None
            takes the published {"focal": 2, "l1": 5, "giou": 2}, under a softmax {"softmax": 1, "l1": 5, "giou": 2}.
        score: the score model that the default follows; an assigner offers its own.

    Raises:
        ValueError: for unknown terms or arguments, or none.

    >>> boxes = torch.tensor([[[0.0, 0.0, 8.0, 8.0], [8.0, 8.0, 16.0, 16.0]]])
    >>> predictions = Predictions(torch.zeros(1, 2, 3), boxes.flip(1))
    >>> targets = Targets.from_lists(list(boxes), [torch.tensor([1, 2])], sizes=torch.tensor([[16.0, 16.0]]))
    >>> Hungarian()(predictions, targets).target
    tensor([1, 0])
    """

    cardinality = "one-to-one"

    def __init__(self, costs: Mapping[str, Any] | None = None, score: Any = None) -> None:
        if costs is None:
            costs = SOFTMAX_COSTS if getattr(score, "background_column", False) else FOCAL_COSTS
        self.costs = COSTS.build_weighted(costs)
        self._has_warned = False

    @property
    def needs(self) -> frozenset[str]:
        """What the cost terms need of the predictions."""
        return needs_of(*self.costs.values())

    @torch.no_grad()
    def __call__(self, predictions: Predictions, targets: Targets) -> Matches:
        cost = self.cost(predictions, targets)
        valid = cost.new_ones(cost.shape[:2], dtype=torch.bool) if predictions.valid is None else predictions.valid
        cost, valid, mask = on_host(cost, valid, targets.mask)
        image, sample, target = solve(cost, valid, mask)
        if not self._has_warned and not _all_finite(cost, valid, mask):
            self._warn(predictions, targets)
        device = predictions.boxes.device
        return Matches(
            *(to_device(index, device) for index in (image, sample, target)),
            predictions.boxes.new_ones(len(image)),
        )

    @torch.no_grad()
    def cost(self, predictions: Predictions, targets: Targets) -> Tensor:
        """(B, N, M) the weighted sum of all terms."""
        total = None
        for term, weight in self.costs.values():
            part = term(predictions, targets) * weight
            total = part if total is None else total.add_(part)
        return total

    def _warn(self, predictions: Predictions, targets: Targets) -> None:
        """Name the first entry of the cost that is not finite, once: whoever is asked every step stops listening."""
        self._has_warned = True
        places = {name: _first_broken(term.part, predictions, targets) for name, term in self.costs.items()}
        culprits = [f"{name!r} of {place}" for name, place in places.items() if place]
        warnings.warn(
            f"hungarian: a matching cost is not finite, first {' and '.join(culprits) or 'the sum of all terms'}; such "
            "pairs are matched only where nothing else is left. This is said once.",
            AssignmentWarning,
            stacklevel=3,
        )


def solve(cost: Tensor, valid: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Image, sample and target (P,) of the pairs of least total cost, by image and sample.

    Args:
        cost: (B, N, M) on the host.
        valid: (B, N) bool, samples that may be matched.
        mask: (B, M) bool, real targets.
    """
    cost, row_order = _valid_first(cost, valid, 1)
    cost, column_order = _valid_first(cost, mask, 2)
    image, row, column = linear_assignment(cost, rows=valid.sum(1), columns=mask.sum(1)).pairs()
    sample = row if row_order is None else row_order[image, row]
    return image, sample, column if column_order is None else column_order[image, column]


def _valid_first(cost: Tensor, flags: Tensor, axis: int) -> tuple[Tensor, Tensor | None]:
    """The cost with the flagged entries of an axis in front, and which they were; None where they are already."""
    if not (flags[:, 1:] & ~flags[:, :-1]).any():
        return cost, None
    order = (~flags).to(torch.uint8).argsort(stable=True)
    index = order[:, :, None] if axis == 1 else order[:, None]
    return cost.gather(axis, index.expand_as(cost)), order


def on_host(cost: Tensor, valid: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cost (B, N, M), valid samples (B, N) and real targets (B, M) on the host, in one copy."""
    if cost.device.type == "cpu":
        return cost, valid, mask
    return unpacked(packed(cost, valid, mask).cpu())


def packed(cost: Tensor, valid: Tensor, mask: Tensor) -> Tensor:
    """(B, N + 1, M + 1) the cost with valid samples (B, N) as its last column and real targets (B, M) as its last row."""
    last_row = torch.cat([mask, mask.new_ones(len(mask), 1)], 1).to(cost)
    return torch.cat([torch.cat([cost, valid[:, :, None].to(cost)], 2), last_row[:, None]], 1)


def unpacked(packed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What `packed` put together."""
    return packed[:, :-1, :-1], packed[:, :-1, -1] > 0, packed[:, -1, :-1] > 0


def _first_broken(term: Cost, predictions: Predictions, targets: Targets) -> str | None:
    """Layer and image of the first pair for which a term is not finite."""
    broken = ~term(predictions, targets).isfinite() & real_pairs(predictions, targets)
    images = broken.flatten(1).any(1).nonzero()[:, 0]
    if not len(images):
        return None
    layer, image = divmod(int(images[0]), len(broken) // (predictions.groups or 1))
    return f"image {image}" if predictions.groups is None else f"layer {layer}, image {image}"


def _all_finite(cost: Tensor, valid: Tensor, mask: Tensor) -> bool:
    """Whether every cost of a valid sample for a real target is finite."""
    if cost.sum().isfinite():  # the quick answer nearly every time; padding may spoil it, and so may very large costs
        return True
    return bool((cost.isfinite() | ~valid[:, :, None] | ~mask[:, None]).all())
