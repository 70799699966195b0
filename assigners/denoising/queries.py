"""The queries that a denoising makes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .known import KnownPairs


@dataclass(frozen=True, kw_only=True)
class DenoisingQueries(KnownPairs):
    """K = groups * block queries per image, group after group, to be put before the others of a query detector.

    Where an image has fewer objects than another of the batch, slots are padding: their content is zero and their box
    (0.5, 0.5, 0.5, 0.5), so its logits are zero as well. Sizes of negatives may be 0 or less.

    Attributes:
        boxes, known, positive, target, padding_in_loss: see `KnownPairs`.
        labels: (B, K) long, the class whose embedding is the content; num_classes is a row of its own, "unknown". 0 in
            padding.
        groups: number of groups, which do not see each other.
        block: slots per group.
    """

    labels: Tensor
    groups: int
    block: int

    def attention_mask(self, num_queries: int) -> Tensor:
        """(K + Q, K + Q) bool, True where a query (row) must not see another (column), for Q queries behind these.

        Groups do not see each other and the others do not see any group: what the denoising knows does not leak.
        """
        count = self.labels.shape[1]
        group = torch.arange(count + num_queries, device=self.labels.device) // max(self.block, 1)
        group[count:] = self.groups
        return (group[:, None] != group) & (group < self.groups)
