"""Union: classes are learned by each layer's own pairs, boxes by those of all layers together (D-FINE, arXiv 2410.13842)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from ..ranking import rank_within
from ..registry import MATCHINGS
from ..structures import BACKGROUND, Matches, Predictions, Targets
from .pairs import matches_from_target
from .wrapping import Wrapping


@MATCHINGS.register("union")
class Union(Wrapping):
    """Another matching's pairs for the classes of each layer; for boxes, in every layer, those that any layer has.

    Layers are groups of stacked batches, the encoder's among them. Of the objects that layers give a sample, it keeps the one
    that most of them do; of equally many the one that the final layer does, or the latest before it, the encoder's last of all.
    (D-FINE's code leaves that to a sort that is not stable.) The score of a box's pair is the share of layers that have it.
    Without layers to unite, the pairs are the matching's.

    Args:
        matching: a matching, its name, or a dict with its "type" and arguments.
        score: the score model; an assigner offers its own.
        num_classes: handed to the inner matching when it is given by name and is kept per class.
    """

    across_layers = True
    further_waits = 1  # for the united pairs

    def __init__(self, matching: Any = "hungarian", score: Any = None, num_classes: int | None = None) -> None:
        super().__init__()
        self.matching = MATCHINGS.build(matching, score=score, num_classes=num_classes)

    def forward(self, predictions: Predictions, targets: Targets) -> Matches:
        pairs = self.matching(predictions, targets)
        groups = predictions.groups or 1
        if groups == 1:
            return pairs
        images = len(predictions.logits) // groups
        return replace(pairs, of_boxes=united(pairs, predictions, targets).repeat(groups, images))


def united(pairs: Matches, predictions: Predictions, targets: Targets) -> Matches:
    """The pairs of all stacked batches as those of one: of a sample's objects the one that most batches have."""
    groups, places = predictions.groups or 1, targets.boxes.shape[1]
    images, samples = len(predictions.logits) // groups, predictions.logits.shape[1]
    image, layer = pairs.image % images, pairs.image // images
    slot = image * samples + pairs.sample
    recency = (layer - predictions.final_group - 1) % groups  # most for the final layer
    count = rank_within(slot * places + pairs.target, -recency) + 1  # at the most recent of equal pairs, of all of them
    vote = (count * groups + recency) * places + places - 1 - pairs.target
    best = vote.new_full((images * samples,), -1).scatter_reduce_(0, slot, vote, "amax").view(images, samples)
    target = torch.where(best >= 0, places - 1 - best % max(places, 1), BACKGROUND)
    share = (best // max(groups * places, 1)).to(pairs.score) / groups
    return matches_from_target(target, share)
