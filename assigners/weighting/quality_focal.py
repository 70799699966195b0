"""Quality focal weighting: the class score of a matched sample should equal the IoU of its box.

Quality focal loss (arXiv 2006.04388, eq. 5) in the language of weights: with quality q (0 off the matched class),
w⁺ = |q − P|^beta q and w⁻ = |q − P|^beta (1 − q). The modulating factor carries gradient, q does not.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..normalizers import normalizers
from ..quality import predicted_iou
from ..registry import WEIGHTINGS
from ..scores import Scores
from ..structures import Assignment, Matches, Predictions, Targets
from .common import BoxWeight, box_weights, check_box_weight, count_positives, countable, group_sum


@WEIGHTINGS.register("quality_focal")
class QualityFocal:
    """Quality focal loss; boxes are weighted by their samples' scores, as in GFL.

    Args:
        beta: exponent of the modulating factor.
        box_weight: w° is the sample's best score ("score", GFL), 1 ("one") or the centerness.
        box_scale: multiplies w° after the normaliser is taken.
        floor_per_image: count an image without positives as one (mmdet's anchor heads do), not only a whole batch.
    """

    def __init__(
        self, beta: float = 2.0, box_weight: BoxWeight = "score", box_scale: float = 2.0, floor_per_image: bool = False
    ) -> None:
        check_box_weight(box_weight)
        self.beta = beta
        self.box_weight = box_weight
        self.box_scale = box_scale
        self.floor_per_image = floor_per_image

    def quality(self, predictions: Predictions, targets: Targets, matches: Matches) -> Tensor:
        """(P,) the IoU that each pair's score should equal, without gradient."""
        return predicted_iou(predictions, targets, matches)

    @property
    def needs(self) -> frozenset[str]:
        """Centerness is measured from points."""
        return frozenset({"points"} if self.box_weight == "centerness" else ())

    def __call__(self, predictions: Predictions, targets: Targets, matches: Matches, scores: Scores) -> Assignment:
        labels = matches.labels(targets)
        index = (matches.image, matches.sample, labels)
        quality = self.quality(predictions, targets, matches)
        probability = scores.probability

        wanted = torch.zeros_like(probability, requires_grad=False)
        wanted.view(-1).scatter_reduce_(0, _flat(index, wanted.shape), quality.to(wanted.dtype), "amax")
        factor = (wanted - probability).abs() ** self.beta
        negative = factor * (1 - wanted) * countable(predictions, matches)
        positive = factor[index] * quality * (quality == wanted[index])  # one class wanted twice learns the better box

        box = box_weights(self.box_weight, predictions, targets, matches, scores)
        count = count_positives(matches, predictions, self.floor_per_image)
        return Assignment(
            matches,
            positive,
            negative,
            self.box_scale * box,
            normalizers(count, count, group_sum(box, matches.image, predictions)),
            details={"quality": quality},
        )


def _flat(index: tuple[Tensor, Tensor, Tensor], shape: torch.Size) -> Tensor:
    image, sample, label = index
    return (image * shape[1] + sample) * shape[2] + label
