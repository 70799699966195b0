"""Score and overlap of the pairs of an assignment."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ...assigners import Matches, Predictions, Targets
from ...assigners.boxes import iou

Scoring = Callable[[Predictions, Matches, Tensor], Tensor]
"""The scores of pairs, as `Assigner.pair_scores` gives them."""


@torch.no_grad()
def score_and_iou(
    matches: Matches, predictions: Predictions, targets: Targets, scoring: Scoring
) -> tuple[Tensor, Tensor]:
    """(P,) score of each pair's sample for its target's class, as inference ranks it, and (P,) IoU of its boxes, in [0, 1]."""
    at = matches.image, matches.sample
    objectness = None if predictions.objectness is None else predictions.objectness[at][None]
    alone = Predictions(predictions.logits[at][None], predictions.boxes[at][None], objectness).at_least_float32()
    pairs = torch.arange(len(matches.image), device=matches.image.device)
    own = Matches(torch.zeros_like(pairs), pairs, pairs, matches.score)
    overlap = iou(alone.boxes[0], matches.target_boxes(targets).to(alone.boxes))
    return scoring(alone, own, matches.labels(targets)), overlap.nan_to_num(nan=0.0).clamp(0, 1)
