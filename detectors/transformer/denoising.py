"""Denoising queries of a detector: noised targets become queries whose match is known (arXiv 2203.01305, 2203.03605)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ...assigners import DENOISINGS, Targets
from ...assigners.denoising import DenoisingQueries
from ...assigners.description import constants
from ...heads.mlp import MLP
from ...heads.reference import inverse_sigmoid, wide_dtype
from .position import reference_encoding
from .queries import Queries


class QueryDenoising(nn.Module):
    """Puts denoising queries in front of a detector's own.

    Their content is the embedding of a noised label, their reference the noised box. Detectors that learn positions
    instead of deriving them from references (DETR, Conditional DETR, Deformable DETR) get the position of a denoising
    query from the encoding of its box through a small network of its own.

    Args:
        denoising: how targets are noised: a name ("dn", "cdn"), a dict with "type", or an object.
        num_classes: C.
        channels: of the queries.
        indicator: the last channel of the content marks denoising queries with 1 (DN-DETR).
        unknown_matching: the detector's own queries get the embedding of an unknown class added (DN-DETR).
        position: make positions from boxes.
    """

    def __init__(
        self,
        denoising: Any,
        num_classes: int,
        channels: int = 256,
        indicator: bool = False,
        unknown_matching: bool = False,
        position: bool = False,
    ) -> None:
        super().__init__()
        self.denoise = DENOISINGS.build(denoising)
        self.num_classes, self.channels = num_classes, channels
        self.indicator, self.unknown_matching = indicator, unknown_matching
        self.labels = nn.Embedding(num_classes + 1, channels - indicator)
        self.position = MLP(2 * channels, channels, channels) if position else None

    def extra_repr(self) -> str:
        return f"denoise={self.denoise},\n{constants(self)}"

    def matching(self, queries: Queries) -> Queries:
        """The detector's own queries, marked as such."""
        if not self.unknown_matching:
            return queries
        unknown = nn.functional.pad(self.labels.weight[self.num_classes], (0, int(self.indicator)))
        return replace(queries, content=queries.content + unknown)

    def forward(self, queries: Queries, targets: Targets) -> tuple[Queries, DenoisingQueries]:
        """Denoising queries, then the detector's own; without objects there are none of the former.

        Args:
            queries: of the batch; `matching` is applied to them.
            targets: with sizes.
        """
        noised = self.denoise(targets, self.num_classes)
        return self.join(self.matching(queries), noised), noised

    def join(self, queries: Queries, noised: DenoisingQueries) -> Queries:
        """Noised targets as queries, in front of others."""
        logits = inverse_sigmoid(noised.boxes.to(wide_dtype(queries.content)), eps=1e-3)
        logits = torch.where(noised.known[..., None], logits, 0.0)
        anchors = None if queries.anchors is None else logits[..., : queries.anchors.shape[-1]]
        return replace(
            queries,
            content=torch.cat((self._content(noised), queries.content), 1),
            position=None if queries.position is None else self._with_position(logits, queries),
            anchors=None if anchors is None else torch.cat((anchors, queries.anchors), 1),
        )

    def _content(self, noised: DenoisingQueries) -> Tensor:
        content = self.labels(noised.labels)
        if self.indicator:
            content = nn.functional.pad(content, (0, 1), value=1.0)
        return torch.where(noised.known[..., None], content, 0.0)

    def _with_position(self, logits: Tensor, queries: Queries) -> Tensor:
        if queries.position_of is not None:
            made = queries.position_of(logits)
        else:
            made = self.position(reference_encoding(logits.sigmoid(), self.channels // 2))
        return torch.cat((made, queries.position), 1)
