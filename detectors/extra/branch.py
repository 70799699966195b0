"""Queries of their own on a pass of their own through the decoder, which find every object several times.

With nothing of its own a branch is H-DETR's (arXiv 2207.13080), with heads on the encoder Relation-DETR's hybrid pass (arXiv
2407.11699), with all heads DDQ's dense queries (arXiv 2303.12776).
"""

from __future__ import annotations

from typing import Any, Literal

from torch import nn

from ...assigners.checks import check_choice, check_count, check_positive
from ...heads.query import ExtraOutputs
from ..transformer.proposals import Proposals
from .scene import EXTRAS, Host, Scene, with_encoder


@EXTRAS.register("branch")
class Branch(nn.Module):
    """So many further queries, for which every object is there several times.

    The detector's queries and these do not see each other, so they may go through the decoder apart, which needs no mask.

    Args:
        host: the detector's parts.
        queries: of an image; in a two-stage detector from the best proposals that the detector leaves, overlapping or not.
        repeat: how often every object is there, so that a one-to-one matching gives it so many queries.
        crowded: where an image's objects would be there more often than it has queries, each is there "fewer" times, all
            equally and once at least; or "as_is", as in the papers' code, where some may then find no query. Losses are
            divided by what is there.
        own: what the branch shares with nobody: "queries" alone; a proposal head on the "encoder" besides, so that it starts
            from the best proposals of that; "heads" for all layers as well. The encoder's projected tokens are shared.
        assigner: its own; None is the decoder's.
        weight: of its losses.

    Raises:
        ValueError: for numbers below 1, a weight that is not positive, an unknown choice, and a head on the encoder of a
            detector whose encoder proposes nothing.
    """

    def __init__(
        self,
        host: Host,
        queries: int = 1500,
        repeat: int = 6,
        own: Literal["queries", "encoder", "heads"] = "queries",
        assigner: Any = None,
        weight: float = 1.0,
        crowded: Literal["fewer", "as_is"] = "fewer",
    ) -> None:
        super().__init__()
        check_count("queries", queries, 1)
        check_count("repeat", repeat, 1)
        check_positive("weight", weight)
        check_choice("own", own, ("queries", "encoder", "heads"))
        check_choice("crowded", crowded, ("fewer", "as_is"))
        self.queries, self.repeat, self.own, self.weight, self.crowded = queries, repeat, own, weight, crowded
        self.assigner = host.assigner(assigner)
        self.rows = host.source.rows(queries)
        self.head = host.head.networks_again() if own == "heads" else None
        proposes = host.head.encoder is not None
        if own == "encoder" and not proposes:
            kind = type(host.source).__name__
            raise ValueError(
                f"own: an encoder's head needs a two-stage detector, and this one has {kind}; take queries"
            )
        self.encoder = host.head.again() if proposes and own != "queries" else None

    def forward(self, scene: Scene) -> ExtraOutputs:
        proposals = self._proposals(scene)
        queries = scene.source.start(self.rows, scene.memory, proposals)
        outputs = scene.decode(queries, self.head)
        if self.encoder is not None:
            outputs = with_encoder(outputs, proposals, self.encoder, scene.head.encoder)
        room = outputs.logits.shape[2] if self.crowded == "fewer" else None
        return ExtraOutputs(outputs, scene.targets.again(self.repeat, room), self.assigner, weight=self.weight)

    def _proposals(self, scene: Scene) -> Proposals | None:
        shared = scene.queries.proposals
        if self.encoder is not None:
            return scene.source.proposed_by(self.encoder, shared).choose(self.queries)
        return shared and shared.choose(self.queries, taken=shared.chosen)
