"""Cross entropy over classes and background, as DETR trains (arXiv 2005.12872, section 3.1).

In the language of weights: w⁺ is 1 on the class of a matched sample and, on the background of every other, the weight of
"no object"; w⁻ is nothing, since a softmax pushes the other classes down by itself. Z⁺ is the sum of those weights: the
loss is a weighted mean.
"""

from __future__ import annotations

import torch

from ..needs import required
from ..normalizers import normalizers
from ..pushes import Entries, Focal
from ..registry import WEIGHTINGS
from ..scores import Scores
from ..structures import Assignment, Matches, Predictions, Targets
from .common import count_objects, countable_as_background, group_sum


@WEIGHTINGS.register("cross_entropy")
class CrossEntropy:
    """Cross entropy with a weight for "no object", and boxes by the number of targets.

    Z⁺ is averaged over ranks, so several processes train as one would on their joint batch; the published code divides
    by each rank's own.

    Args:
        no_object: w⁺ of the background, for samples without a target.
        class_scale: coefficient of the class term, on top of the mean.
        box_scale: coefficient of the box term.
    """

    needs: frozenset[str] = frozenset()
    score_models = ("Softmax",)

    def __init__(self, no_object: float = 0.1, class_scale: float = 1.0, box_scale: float = 1.0) -> None:
        self.no_object = no_object
        self.class_scale = class_scale
        self.box_scale = box_scale

    def __call__(self, predictions: Predictions, targets: Targets, matches: Matches, scores: Scores) -> Assignment:
        positive = torch.ones_like(matches.score, dtype=predictions.logits.dtype)
        log_background = required("log_background", scores.log_background)
        background = torch.full_like(log_background, self.no_object, requires_grad=False)
        background[matches.image, matches.sample] = 0
        background = background * countable_as_background(predictions, matches)

        total = group_sum(positive, matches.image, predictions) + group_sum(background, None, predictions)
        count = count_objects(matches, targets, predictions)
        nothing = torch.zeros_like(positive)  # which a prediction that is not a number still shows through
        return Assignment(
            matches,
            self.class_scale * positive,
            Focal.around(Entries.of(matches, targets, scores), nothing, scores, 0.0, 1.0, nothing.new_ones(())),
            self.box_scale * positive,
            normalizers(total, count, count, floor=(1e-6, 1.0, 1.0)),
            background=self.class_scale * background,
        )
