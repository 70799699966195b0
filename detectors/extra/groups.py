"""Group DETR (arXiv 2207.13085): K groups of queries that do not see each other, each matched by itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from ...assigners.checks import check_count
from ...heads.query import ExtraOutputs, QueryOutputs
from ..transformer.attention import Apart
from ..transformer.proposals import Proposals
from ..transformer.queries import Queries
from .encoder import OwnProposals
from .scene import EXTRAS, Host, Scene


@EXTRAS.register("groups")
class Groups(nn.Module):
    """K - 1 further groups of as many queries as the detector has; its own are the first group, and all that stays.

    Objects learn from K queries. In a two-stage detector every group has its own encoder part (LW-DETR).

    Args:
        host: the detector's parts.
        k: K, groups in all.
        average: losses are means over all groups, the detector's own among them; False adds them up (LW-DETR's option).
        assigner: of the further groups; None is the decoder's.

    Raises:
        ValueError: for fewer than 2 groups.
    """

    def __init__(self, host: Host, k: int = 11, average: bool = True, assigner: Any = None) -> None:
        super().__init__()
        check_count("k", k, 2)
        self.k, self.further, self.average = k, k - 1, average
        self.assigner = host.assigner(assigner)
        self.rows = nn.ModuleList(host.source.rows(host.source.num_queries) for _ in range(self.further))
        own = host.head.encoder is not None
        self.encoders = nn.ModuleList(OwnProposals(host) for _ in range(self.further if own else 0))

    def forward(self, scene: Scene) -> ExtraOutputs:
        proposals = [scene.source.choose(each(scene.source, scene.memory)) for each in self.encoders]
        starts = zip(self.rows, proposals or [None] * self.further, strict=True)
        queries = side_by_side([scene.source.start(rows, scene.memory, own) for rows, own in starts])
        outputs = scene.decode(queries, sight=Apart(self.further))
        if proposals:
            outputs = self._with_encoders(outputs, proposals, scene.head.encoder)
        weight, own = (self.further / self.k, 1 / self.k) if self.average else (self.further, 1.0)
        return ExtraOutputs(
            outputs, scene.targets, self.assigner, groups=self.further, weight=weight, weight_of_own=own
        )

    def _with_encoders(self, outputs: QueryOutputs, proposals: list[Proposals], kind: str) -> QueryOutputs:
        each = zip(self.encoders, proposals, strict=True)
        encoder = as_images([encoder.part.encoder_outputs(*own.trained(kind)) for encoder, own in each])
        strides = torch.cat([own.strides[own.chosen] for own in proposals], 1)
        return replace(outputs, strides=strides, encoder=encoder)


def as_images(parts: list[QueryOutputs]) -> QueryOutputs:
    """Proposals (1, B, N, ...) of several encoder parts as those of so many times the images, part behind part."""
    layered = {name: [getattr(part, name) for part in parts] for name in ("logits", "boxes", "objectness")}
    places = torch.cat([part.references[0] for part in parts])
    return QueryOutputs(
        **{name: None if found[0] is None else torch.cat(found, 1) for name, found in layered.items()},
        references=(places,),
        strides=torch.cat([part.strides for part in parts]),
    )


def side_by_side(parts: list[Queries]) -> Queries:
    """Queries of the same kind, one part behind the other; what they were proposed by is left out."""
    names = ("content", "position", "anchors")
    values = {name: [getattr(part, name) for part in parts] for name in names}
    return Queries(**{name: None if found[0] is None else torch.cat(found, 1) for name, found in values.items()})
