"""Another matching, shown the boxes that predictions start from in the place of those that they reach."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..needs import needs_of
from ..registry import MATCHINGS
from ..structures import Matches, Predictions, Targets
from .pairs import prior_boxes
from .wrapping import Wrapping


@MATCHINGS.register("on_priors")
class OnPriors(Wrapping):
    """The pairs that another matching finds where samples predict their anchors.

    So MS-DETR (arXiv 2401.03989) matches the encoder's proposals, and DETA (arXiv 2212.06137) both stages. DAC-DETR (NeurIPS
    2023) looks at another decoder's boxes, which are then to be the priors.

    Args:
        matching: a matching, its name, or a dict with its "type" and arguments.
        once: ask it for the first layer alone, and give its pairs to all: to those of a decoder whose boxes all start from the
            first layer's anchors.
        prior_scale: side of the squares, in strides, when the predictions have no anchor boxes.
        score: the score model; an assigner offers its own.
        num_classes: handed to the inner matching when it is given by name and is kept per class.
    """

    def __init__(
        self,
        matching: Any = "thresholded",
        once: bool = False,
        prior_scale: float = 8.0,
        score: Any = None,
        num_classes: int | None = None,
    ) -> None:
        super().__init__()
        self.matching = MATCHINGS.build(matching, score=score, num_classes=num_classes)
        self.once = once
        self.prior_scale = prior_scale

    @property
    def needs(self) -> frozenset[str]:
        """What the matching inside needs, and what anchors are drawn from."""
        return needs_of(self.matching) | {"points", "strides"}

    @property
    def across_layers(self) -> bool:
        """Where all layers have the first one's pairs."""
        return self.once or getattr(self.matching, "across_layers", False)

    def forward(self, predictions: Predictions, targets: Targets) -> Matches:
        priors = prior_boxes(predictions, self.prior_scale)
        predictions = replace(predictions, boxes=priors.expand_as(predictions.boxes))
        if not self.once:
            return self.matching(predictions, targets)
        first, groups = predictions.first_group(), predictions.groups or 1
        images = len(first.logits)
        return self.matching(first, targets.first_images(images)).repeat(groups, images)
