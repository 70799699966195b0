"""Hungarian matching: one sample for every object, or a few, at the least total cost (DETR, arXiv 2005.12872, eq. 1)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from ...ops.linear_assignment import linear_assignment
from ...ops.transfer import to_device
from ..checks import AssignmentWarning, check_count
from ..costs import Cost
from ..needs import needs_of
from ..registry import COSTS, MATCHINGS
from ..structures import Matches, Predictions, Targets
from .pairs import real_pairs

FOCAL_COSTS = {"focal": 2.0, "l1": 5.0, "giou": 2.0}
SOFTMAX_COSTS = {"softmax": 1.0, "l1": 5.0, "giou": 2.0}


@MATCHINGS.register("hungarian")
class Hungarian:
    """Match samples and targets, one to one or several to one, at the least sum of weighted cost terms.

    All images, and all groups of stacked batches, are solved in one call; their costs, with the masks, go to the host in
    one copy. Every target gets a sample, or every valid sample a target where there are more targets. A cost that is not
    finite loses to every finite one, and the first time one comes up, a warning names layer, image and term.

    With `copies` a target gets so many samples, each of its own: H-DETR (arXiv 2207.13080) 6 in a branch that only trains,
    DDQ (arXiv 2303.12776) 4, Align-DETR (arXiv 2304.07527) 2 and 1 in the last layer. The score of such a pair is e^(-cost).

    Args:
        costs: coefficient by term, or {"weight": coefficient, ...arguments} (see `detassign.assigners.costs`); None
            takes the published {"focal": 2, "l1": 5, "giou": 2}, under a softmax {"softmax": 1, "l1": 5, "giou": 2}.
        copies: samples per target.
        final_copies: the same in the final layer (`Predictions.final`); None as in all.
        share: of an image's valid samples that its targets take at most; where copies would take more, each target gets fewer,
            one at least. DDQ 1, Align-DETR 0.5. None, as in H-DETR's code, gives all samples to the targets that they cost
            least, some of which then have all copies and others no sample at all.
        carry: the fewer copies of an image are those of the images behind it in its batch too, none of them where there are
            more targets than the share has samples. So Align-DETR's code has it; losses depend on the order of images.
        score: the score model that the default follows; an assigner offers its own.

    Raises:
        ValueError: for unknown terms or arguments, or none, fewer than one copy, and a share that is none.

    >>> boxes = torch.tensor([[[0.0, 0.0, 8.0, 8.0], [8.0, 8.0, 16.0, 16.0]]])
    >>> predictions = Predictions(torch.zeros(1, 2, 3), boxes.flip(1))
    >>> targets = Targets.from_lists(list(boxes), [torch.tensor([1, 2])], sizes=torch.tensor([[16.0, 16.0]]))
    >>> Hungarian()(predictions, targets).target
    tensor([1, 0])
    """

    waits = 1  # for the costs

    def __init__(
        self,
        costs: Mapping[str, Any] | None = None,
        copies: int = 1,
        final_copies: int | None = None,
        share: float | None = 1.0,
        carry: bool = False,
        score: Any = None,
    ) -> None:
        check_count("copies", copies, 1)
        check_count("final_copies", final_copies, 1)
        if share is not None and not 0 < share <= 1:
            raise ValueError(f"share: expected a number above 0 and up to 1, or None, got {share!r}")
        if costs is None:
            costs = SOFTMAX_COSTS if getattr(score, "background_column", False) else FOCAL_COSTS
        self.costs = COSTS.build_weighted(costs)
        self.copies = copies
        self.final_copies = final_copies
        self.share = share
        self.carry = carry
        self._has_warned = False

    @property
    def cardinality(self) -> str:
        """That of the final layer, which detects."""
        return "one-to-one" if (self.final_copies or self.copies) == 1 else "one-to-many"

    @property
    def kind(self) -> tuple[Any, ...]:
        """Whether a target gets one sample, however many more."""
        return Hungarian, self.is_one_to_one

    @property
    def is_one_to_one(self) -> bool:
        """Whether it is so in every layer."""
        return self.copies == 1 and self.final_copies in (None, 1)

    @property
    def moves_others(self) -> bool:
        """Whether a further target may take samples from others, which keep one: where they have several."""
        return self.cardinality != "one-to-one"

    @property
    def across_layers(self) -> bool:
        """Whether a layer's pairs depend on which layer it is."""
        return self.final_copies not in (None, self.copies)

    @property
    def needs(self) -> frozenset[str]:
        """What the cost terms need of the predictions."""
        return needs_of(*self.costs.values())

    @torch.no_grad()
    def __call__(self, predictions: Predictions, targets: Targets) -> Matches:
        cost = self.cost(predictions, targets)
        valid = cost.new_ones(cost.shape[:2], dtype=torch.bool) if predictions.valid is None else predictions.valid
        cost, valid, mask = on_host(cost, valid, targets.mask)
        one_each = self.is_one_to_one and not self.carry
        pairs = solve(cost, valid, mask, None if one_each else self._copies(valid, mask, predictions))
        if not self._has_warned and not _all_finite(cost, valid, mask):
            self._warn(predictions, targets)
        score = torch.ones(len(pairs[0])) if self.is_one_to_one else (-cost[pairs]).exp().nan_to_num(nan=0.0)
        found = (to_device(values, predictions.boxes.device) for values in (*pairs, score.to(cost)))
        image, sample, target, score = found
        return Matches(image, sample, target, score)

    def _copies(self, valid: Tensor, mask: Tensor, predictions: Predictions) -> Tensor:
        """(B,) how many samples each target of an image gets at most, from valid samples (B, N) and real targets (B, M)."""
        layers = torch.full((predictions.groups or 1,), self.copies)
        layers[predictions.final_group] = self.final_copies or self.copies
        copies = layers.repeat_interleave(len(mask) // len(layers))
        if self.share is None:
            return copies
        targets = mask.sum(1)
        room = (self.share * valid.sum(1).double() / targets).floor().masked_fill(targets == 0, torch.inf)
        room = room.view(len(layers), -1).cummin(1).values.flatten() if self.carry else room.clamp(min=1)
        return torch.minimum(copies, room).long()

    @torch.no_grad()
    def cost(self, predictions: Predictions, targets: Targets) -> Tensor:
        """(B, N, M) the weighted sum of all terms."""
        return reduce(Tensor.add_, (term(predictions, targets) * weight for term, weight in self.costs.values()))

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


def solve(cost: Tensor, valid: Tensor, mask: Tensor, copies: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Image, sample and target (P,) of the pairs of least total cost, by image and sample.

    Args:
        cost: (B, N, M) on the host.
        valid: (B, N) bool, samples that may be matched.
        mask: (B, M) bool, real targets.
        copies: (B,) long, samples that each target of an image may have; None is one.
    """
    cost, row_order = _valid_first(cost, valid, 1)
    columns = mask.sum(1)
    if copies is None:
        cost, column_order = _valid_first(cost, mask, 2)
    else:
        cost, column_order = _repeated(cost, mask, copies)
        columns = columns * copies
    image, row, column = linear_assignment(cost, rows=valid.sum(1), columns=columns).pairs()
    sample = row if row_order is None else row_order[image, row]
    return image, sample, column if column_order is None else column_order[image, column]


def _repeated(cost: Tensor, mask: Tensor, copies: Tensor) -> tuple[Tensor, Tensor]:
    """The cost with a column for every copy of a real target, those in front, and which target each is of.

    The order of copies has no say: their columns are alike, and whichever takes a sample, its target has it.
    """
    most, places = int(copies.max()), mask.shape[1]
    flags = mask.repeat(1, most) & (torch.arange(most).repeat_interleave(places) < copies[:, None])
    order = (~flags).to(torch.uint8).argsort(stable=True)[:, : int(flags.sum(1).max())] % max(places, 1)
    images = torch.arange(len(cost))[:, None]
    return cost.transpose(1, 2)[images, order].transpose(1, 2), order  # whole columns, as they lie in memory


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
