"""What an extra is built for, what it sees of a step, and what it has to be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from torch import Tensor

from ...assigners import Assigner, Targets, build
from ...assigners.registry import EXTRAS
from ...heads.query import ExtraOutputs, ProposalHead, QueryHead, QueryOutputs, check_assigner, check_columns
from ..transformer.attention import Sight
from ..transformer.decoder import Decoded, QueryDecoder
from ..transformer.memory import Memory
from ..transformer.proposals import Proposals
from ..transformer.queries import Queries, QuerySource

__all__ = ["EXTRAS", "Extra", "Host", "Scene", "read", "with_encoder"]


class Extra(Protocol):
    """Further queries, or a further way through the decoder, that only training has; registered in `EXTRAS`.

    A module. Its parameters take part in every step, whatever objects the batch has.
    """

    def __call__(self, scene: Scene) -> ExtraOutputs:
        """What is to be learnt besides, from what the detector made of a batch."""


@dataclass(frozen=True)
class Host:
    """The parts of the detector that an extra is built for.

    Attributes:
        source: where its queries start.
        decoder, head: its own.
        levels: that its encoder makes.
    """

    source: QuerySource
    decoder: QueryDecoder
    head: QueryHead
    levels: int

    def assigner(self, spec: Any) -> Assigner | None:
        """An extra's assigner, at home in the detector; None for the decoder's.

        Raises:
            ValueError: when queries, or the detector's classifier, cannot serve it.
        """
        if spec is None:
            return None
        assigner = build(spec, self.head.num_classes, self.head.home)
        check_assigner(assigner)
        check_columns("assigner of an extra", assigner, self.head.assigner)
        return assigner


@dataclass(frozen=True)
class Scene:
    """A batch, after the detector's own queries were decoded.

    Attributes:
        memory: the encoded images.
        queries: the detector's own, without those of denoising.
        decoded: what the decoder found of them.
        targets: of the batch.
        source, decoder, head: of the detector.
        mark: what the detector does to the contents of queries that are to be matched (DN-DETR).
    """

    memory: Memory
    queries: Queries
    decoded: Decoded
    targets: Targets
    source: QuerySource
    decoder: QueryDecoder
    head: QueryHead
    mark: Callable[[Queries], Queries]

    def decode(
        self,
        queries: Queries,
        head: QueryHead | None = None,
        sight: Tensor | Sight | None = None,
        see_others: bool = True,
    ) -> QueryOutputs:
        """Further queries on a pass of their own through the detector's decoder; nobody else sees them.

        Args:
            queries: with their proposals, if they come from some.
            head: that moves and reads them; None is the detector's.
            sight, see_others: see `QueryDecoder.forward`.
        """
        decoded = self.decoder(self.mark(queries), self.memory, head or self.head, sight, see_others)
        return read(decoded, queries.proposals, head or self.head)


def read(decoded: Decoded, proposals: Proposals | None, head: QueryHead) -> QueryOutputs:
    """The predictions of all layers, with the strides of the tokens that queries come from."""
    outputs = replace(head(decoded.states, decoded.references, decoded.boxes), valid=decoded.counting)
    return outputs if proposals is None else replace(outputs, strides=proposals.strides[proposals.chosen])


def with_encoder(
    outputs: QueryOutputs, proposals: Proposals | None, part: ProposalHead, kind: str | None
) -> QueryOutputs:
    """The same with those proposals that are trained; `kind` as `QueryHead.encoder`."""
    if proposals is None:
        return outputs
    return replace(outputs, encoder=part.encoder_outputs(*proposals.trained(kind)))
