"""The columns of a query head's classifiers: what an assigner's score model asks them to be."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from ..assigners import Assigner
from .wide import WideLinear


@dataclass(frozen=True)
class Columns:
    """What the columns of a classifier are: classes, a background of theirs, and objectness, in this order."""

    classes: int
    background: bool
    objectness: bool
    rare: bool = False  # what objectness says, so that it starts as classes do

    @classmethod
    def of(cls, assigner: Assigner, num_classes: int) -> Columns:
        """What an assigner needs."""
        rare = getattr(assigner.branch, "rare", False)
        return cls(num_classes, assigner.score.background_column, "objectness" in assigner.needs, rare)

    @property
    def count(self) -> int:
        return self.classes + self.background + self.objectness

    def split(self, values: Tensor) -> tuple[Tensor, Tensor | None]:
        """Values (..., columns) as logits of the classes with their background, and objectness (...) or None."""
        return (values[..., :-1], values[..., -1]) if self.objectness else (values, None)

    def ranking(self, values: Tensor) -> Tensor:
        """Values (..., columns) -> (..., classes), which order samples as the probabilities of the classes do."""
        logits, objectness = self.split(values)
        if self.background:
            return logits.log_softmax(-1)[..., : self.classes]
        return logits if objectness is None else logsigmoid(logits) + logsigmoid(objectness)[..., None]


def make_classifier(channels: int, columns: Columns, class_prior: float | None) -> WideLinear:
    """A linear classifier whose classes, and rare objectness, start at `class_prior`, unless they share a background."""
    classifier = WideLinear(channels, columns.count)
    if class_prior is not None and not columns.background:
        nn.init.zeros_(classifier.bias)
        started = columns.classes + (columns.objectness and columns.rare)
        nn.init.constant_(classifier.bias[:started], -math.log((1 - class_prior) / class_prior))
    return classifier


def check_columns(output: str, assigner: Assigner, decoder: Assigner) -> None:
    """Raise ValueError when an output's assigner wants other columns than the decoder's classifier, which it shares, has."""
    own, shared = (Columns.of(each, 1) for each in (assigner, decoder))
    if own.background != shared.background or own.objectness > shared.objectness:
        raise ValueError(
            f"{output}: its queries share the decoder's classifier, whose score model is {type(decoder.score).__name__}; "
            f"{type(assigner.score).__name__} needs other columns; take it for the decoder too"
        )
