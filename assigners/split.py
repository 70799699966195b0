"""Two assigners for one head: one says which samples learn classes, the other which learn boxes (DDOD)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .assigner import Assigner
from .delegate import Delegate
from .losses import box_terms
from .structures import Assignment, Matches, Predictions, Targets


class Split(Delegate):
    """The class terms of one assigner beside the box terms and the second branch of another; in every respect an `Assigner`.

    Its assignment has the pairs of both: w⁺ is 0 for a pair that learns the box alone, w° for one that learns the class alone.

    Args:
        classes: its w⁺, w⁻, Z⁺ and Z⁻ count.
        boxes: its w° and Z° count, its box loss, and its second branch.

    Raises:
        ValueError: when the score models differ, of which a head has one.
    """

    def __init__(self, classes: Assigner, boxes: Assigner) -> None:
        super().__init__()
        kinds = {type(each.score).__name__ for each in (classes, boxes)}
        if len(kinds) > 1:
            raise ValueError(f"score: expected one for classes and boxes, got {', '.join(sorted(kinds))}")
        self.classes = classes
        self.boxes = boxes

    @property
    def assigners(self) -> tuple[Assigner, Assigner]:
        """Both, that of the classes first."""
        return self.classes, self.boxes

    @property
    def branch(self) -> Any:
        """That of the boxes' assigner."""
        return self.boxes.branch

    @branch.setter
    def branch(self, branch: Any) -> None:
        self.boxes.branch = branch

    @property
    def box_loss(self) -> Any:
        return self.boxes.box_loss

    def inference_scores(self, predictions: Predictions) -> tuple[Tensor, Tensor | None]:
        """See `Assigner.inference_scores`."""
        return self.boxes.inference_scores(predictions)

    def match(self, predictions: Predictions, targets: Targets) -> Matches:
        """The pairs of both."""
        pairs = [assigner.match(predictions, targets) for assigner in self.assigners]
        return _both(*pairs, predictions, targets)[0]

    def forward(self, predictions: Predictions, targets: Targets, matches: Matches | None = None) -> Assignment:
        """See `Assigner.forward`."""
        assignments = [assigner(predictions, targets, matches) for assigner in self.assigners]
        return _joined(*assignments, predictions, targets)

    def assign_and_loss(
        self, predictions: Predictions, targets: Targets, matches: Matches | None = None
    ) -> tuple[Assignment, dict[str, Tensor]]:
        """See `Assigner.assign_and_loss`."""
        answers = [assigner.assign_and_loss(predictions, targets, matches) for assigner in self.assigners]
        assignments, (of_classes, of_boxes) = zip(*answers, strict=True)
        about_boxes = [_about_boxes(assigner) for assigner in self.assigners]
        losses = {name: loss for name, loss in of_classes.items() if name not in about_boxes[0]}
        losses |= {name: loss for name, loss in of_boxes.items() if name in about_boxes[1]}
        return _joined(*assignments, predictions, targets), losses


def _about_boxes(assigner: Assigner) -> set[str]:
    """Names of the losses of boxes and of the second branch."""
    names = [*box_terms(assigner.box_loss), *([assigner.branch.name] if assigner.branch is not None else [])]
    return {f"loss_{name}" for name in names}


def _joined(classes: Assignment, boxes: Assignment, predictions: Predictions, targets: Targets) -> Assignment:
    """One assignment of the pairs of both."""
    matches, place, alone = _both(classes.matches, boxes.matches, predictions, targets)
    weights = torch.cat([boxes.box, boxes.box.new_zeros(1)])  # which a pair without a box has at place -1
    return Assignment(
        matches,
        torch.cat([classes.positive, torch.zeros_like(boxes.box[alone])]),
        classes.pushes,
        torch.cat([weights[place], boxes.box[alone]]),
        torch.cat([classes.normalizers[:2], boxes.normalizers[2:]]),
        classes.background,
    )


def _both(
    classes: Matches, boxes: Matches, predictions: Predictions, targets: Targets
) -> tuple[Matches, Tensor, Tensor]:
    """The pairs that either has, the place in `boxes` of each pair of `classes` or -1, and the places of the rest."""
    samples = predictions.logits.shape[1]
    key, other = (pairs.flat_target(targets) * samples + pairs.sample for pairs in (classes, boxes))
    ordered, order = other.sort()
    found = torch.searchsorted(ordered, key)
    near = found.clamp(max=max(len(other) - 1, 0))
    shared = (ordered[near] == key) if len(other) else torch.zeros_like(key, dtype=torch.bool)
    place = torch.where(shared, order[near], -1) if len(other) else torch.full_like(key, -1)
    taken = torch.zeros(len(other) + 1, dtype=torch.bool, device=key.device)
    taken[place] = True  # the last is that of -1
    alone = (~taken[:-1]).nonzero()[:, 0]
    rest = boxes.select(alone)
    names = ("image", "sample", "target", "score")
    return (
        Matches(*(torch.cat([getattr(classes, n), getattr(rest, n)]) for n in names), classes.ignored, classes.spared),
        place,
        alone,
    )
