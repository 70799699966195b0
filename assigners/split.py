"""Two assigners for one head: one says which samples learn classes, the other which learn boxes (DDOD)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from .assigner import Assigner
from .delegate import Delegate
from .joining import both, joined
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

    def pair_scores(self, predictions: Predictions, matches: Matches, labels: Tensor) -> Tensor:
        """See `Assigner.pair_scores`."""
        return self.boxes.pair_scores(predictions, matches, labels)

    def match(self, predictions: Predictions, targets: Targets) -> Matches:
        """The pairs of both."""
        classes, boxes = (assigner.match(predictions, targets) for assigner in self.assigners)
        return both(classes, boxes, predictions, targets)[0]

    def forward(self, predictions: Predictions, targets: Targets, matches: Matches | None = None) -> Assignment:
        """See `Assigner.forward`."""
        classes, boxes = (assigner(predictions, targets, matches) for assigner in self.assigners)
        return joined(classes, boxes, predictions, targets)

    def assign_and_loss(
        self, predictions: Predictions, targets: Targets, matches: Matches | None = None
    ) -> tuple[Assignment, dict[str, Tensor]]:
        """See `Assigner.assign_and_loss`."""
        answers = (assigner.assign_and_loss(predictions, targets, matches) for assigner in self.assigners)
        (classes, of_classes), (boxes, of_boxes) = answers
        about_boxes = [_about_boxes(assigner) for assigner in self.assigners]
        losses = {name: loss for name, loss in of_classes.items() if name not in about_boxes[0]}
        losses |= {name: loss for name, loss in of_boxes.items() if name in about_boxes[1]}
        return joined(classes, boxes, predictions, targets), losses


def _about_boxes(assigner: Assigner) -> set[str]:
    """Names of the losses of boxes and of the second branch."""
    names = [*box_terms(assigner.box_loss), *([assigner.branch.name] if assigner.branch is not None else [])]
    return {f"loss_{name}" for name in names}
