"""What is inspected: assigners as they end a training, and predictions in the form that each of them reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch

from ...assigners import Assigner, Predictions, build, set_progress
from ...assigners.spec import name_of


def at_the_end(specs: Iterable[str | Mapping[str, Any]], num_classes: int) -> dict[str, Assigner]:
    """Assigners by name, as they are at the end of a training (TOOD begins as another), which is what predictions are of."""
    assigners = {name_of(spec): build(spec, num_classes) for spec in specs}
    for assigner in assigners.values():
        set_progress(assigner, 1.0)
    return assigners


def translate(predictions: Predictions, written_for: Any, wanted: Any) -> Predictions:
    """The same P for another score model; P alone carries over, boxes and geometry stay.

    A score model with objectness gets the root of each sample's best P as objectness and the rest as class score; a
    softmax gets what the classes leave as background.

    Args:
        predictions: logits, and objectness if need be, as the score model `written_for` reads them.
        written_for, wanted: score models.
    """
    if _form(written_for) == _form(wanted):
        return predictions
    probability = written_for(predictions).probability
    if wanted.background_column:
        probability = probability / probability.sum(-1, keepdim=True).clamp(min=1)
        rest = 1 - probability.sum(-1, keepdim=True)
        return replace(predictions, logits=torch.cat([probability, rest], -1).clamp(min=1e-6).log())
    if not wanted.uses_objectness:
        return replace(predictions, logits=torch.logit(probability, eps=1e-6))
    objectness = probability.amax(-1).clamp(min=1e-6).sqrt()
    return replace(
        predictions,
        logits=torch.logit(probability / objectness[..., None], eps=1e-6),
        objectness=torch.logit(objectness, eps=1e-6),
    )


def _form(score: Any) -> tuple[bool, bool]:
    return score.uses_objectness, score.background_column
