"""The queries that a denoising makes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..structures import Matches, Targets


@dataclass(frozen=True)
class DenoisingQueries:
    """K = groups * block queries per image, group after group, to be put before the others of a query detector.

    A slot without an object, because another image of the batch has more, is padding: its content is zero and its box
    (0.5, 0.5, 0.5, 0.5), so its logits are zero as well.

    Attributes:
        labels: (B, K) long, the class whose embedding is the content; num_classes is a row of its own, "unknown". 0 in
            padding.
        boxes: (B, K, 4) cxcywh, shares of the image; sizes of negatives may be 0 or less.
        known: (B, K) bool, False in padding.
        positive: (B, K) bool, whether the query is to find its object; False for negatives and padding.
        target: (B, K) long, the object that a positive is to find, 0 elsewhere.
        groups: number of groups, which do not see each other.
        block: slots per group.
        padding_in_loss: whether padding slots learn to be background, as negatives do.
    """

    labels: Tensor
    boxes: Tensor
    known: Tensor
    positive: Tensor
    target: Tensor
    groups: int
    block: int
    padding_in_loss: bool

    def matches(self, groups: int = 1) -> Matches:
        """The pairs, for the predictions of `groups` decoder layers stacked layer after layer (`Predictions.groups`)."""
        image, sample = self.positive.nonzero(as_tuple=True)
        ignored = None if self.padding_in_loss else ~self.known
        pairs = Matches(image, sample, self.target[image, sample], self.boxes.new_ones(len(image)), ignored)
        return pairs.repeat(groups, len(self.labels))

    def found(self, targets: Targets) -> Targets:
        """The targets that have a positive here; a cap on the queries of a crowded image leaves some without."""
        objects = targets.mask.shape[1]
        place = torch.where(self.positive, self.target, objects)
        has_query = targets.mask.new_zeros(len(place), objects + 1).scatter_(1, place, True)[:, :objects]
        return replace(targets, mask=targets.mask & has_query)

    def attention_mask(self, num_queries: int) -> Tensor:
        """(K + Q, K + Q) bool, True where a query (row) must not see another (column), for Q queries behind these.

        Groups do not see each other and the others do not see any group: what the denoising knows does not leak.
        """
        count = self.labels.shape[1]
        group = torch.arange(count + num_queries, device=self.labels.device) // max(self.block, 1)
        group[count:] = self.groups
        return (group[:, None] != group) & (group < self.groups)
