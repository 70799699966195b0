"""The one loss: three weighted sums, whatever assigner made the weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from .boxes import center, ciou, diou, giou, iou, relative_giou, relative_l1, side_distances, sides
from .checks import check_choice, check_count, check_positive
from .distances import BoxLoss, pair_distances
from .gaussians import squared_wasserstein
from .needs import required
from .pushes import weighted
from .registry import BOX_LOSSES, Weighted
from .scores import Scores
from .structures import Assignment, Matches, Predictions, Targets
from .weighting.common import group_sum

RELATIVE = "relative_"


class OnShares:
    """Base of the distances of boxes that want them as shares of their image, not in pixels."""

    def __call__(self, predicted: Tensor, target: Tensor) -> Tensor:
        """(P,) distance of boxes (P, 4) xyxy, shares of the image, from their targets'."""
        raise NotImplementedError

    def of_pairs(self, predictions: Predictions, targets: Targets, matches: Matches) -> Tensor:
        """(P,) distance of each pair's box from its target."""
        boxes = matches.predicted_boxes(predictions), matches.target_boxes(targets)
        return self(*(targets.shares_of(each, matches.image) for each in boxes))


@BOX_LOSSES.register("giou")
class GIoULoss:
    """1 - GIoU (arXiv 1902.09630)."""

    def __call__(self, predicted: Tensor, target: Tensor) -> Tensor:
        return 1 - giou(predicted, target)


@BOX_LOSSES.register("diou")
class DIoULoss:
    """1 - distance IoU (arXiv 1911.08287); `eps` as of `boxes.diou`."""

    def __init__(self, eps: float = 1e-6) -> None:
        self.eps = eps

    def __call__(self, predicted: Tensor, target: Tensor) -> Tensor:
        return 1 - diou(predicted, target, self.eps)


@BOX_LOSSES.register("ciou")
class CIoULoss:
    """1 - complete IoU (arXiv 1911.08287); `eps` as of `boxes.ciou`, YOLO's 1e-7."""

    def __init__(self, eps: float = 1e-7) -> None:
        self.eps = eps

    def __call__(self, predicted: Tensor, target: Tensor) -> Tensor:
        return 1 - ciou(predicted, target, self.eps)


@BOX_LOSSES.register("iou_log")
class IoULogLoss:
    """-log IoU, the loss of UnitBox (arXiv 1608.01471) that FCOS was published with; IoU floored at 1e-6."""

    def __call__(self, predicted: Tensor, target: Tensor) -> Tensor:
        return -iou(predicted, target).clamp(min=1e-6).log()


@BOX_LOSSES.register("iou_square")
class IoUSquareLoss:
    """1 - IoU^2 (YOLOX, arXiv 2107.08430)."""

    def __call__(self, predicted: Tensor, target: Tensor) -> Tensor:
        return 1 - iou(predicted, target) ** 2


@BOX_LOSSES.register("nwd")
class NWDLoss:
    """A function of the Wasserstein distance W of two boxes as Gaussians (NWD, arXiv 2110.13389).

    It has a gradient where boxes do not meet, and tiny ones seldom do.

    Args:
        form: "exp" 1 - exp(-W / constant), "sqrt" W, "log" ln(W^2 + 1), "norm_sqrt" 1 - 1 / (1 + W), "w2" W^2.
        constant: pixels, of "exp" alone; the mean side of the objects.
        eps: added to W^2.

    Raises:
        ValueError: for an unknown form, and a constant that is not positive.
    """

    scale_invariant = False

    def __init__(
        self,
        form: Literal["exp", "sqrt", "log", "norm_sqrt", "w2"] = "exp",
        constant: float = 12.8,
        eps: float = 1e-7,
    ) -> None:
        check_choice("form", form, tuple(OF_SQUARED_WASSERSTEIN))
        check_positive("constant", constant)
        self.form = form
        self.constant = constant
        self.eps = eps

    def __call__(self, predicted: Tensor, target: Tensor) -> Tensor:
        return OF_SQUARED_WASSERSTEIN[self.form](squared_wasserstein(predicted, target, self.eps), self.constant)


OF_SQUARED_WASSERSTEIN: Mapping[str, Callable[[Tensor, float], Tensor]] = {
    "exp": lambda squared, constant: 1 - (-squared.sqrt() / constant).exp(),
    "sqrt": lambda squared, _: squared.sqrt(),
    "log": lambda squared, _: squared.log1p(),
    "norm_sqrt": lambda squared, _: 1 - 1 / (1 + squared.sqrt()),
    "w2": lambda squared, _: squared,
}
"""The forms of `NWDLoss`, of W^2 and the constant."""


@BOX_LOSSES.register("l1")
class L1Loss:
    """Sum of the absolute differences of the four coordinates, pixels."""

    scale_invariant = False

    def __call__(self, predicted: Tensor, target: Tensor) -> Tensor:
        return (predicted - target).abs().sum(-1)


@BOX_LOSSES.register("relative_l1")
class RelativeL1Loss(OnShares):
    """Sum of the absolute differences of centre, width and height, as shares of the image (DETR)."""

    def __call__(self, predicted: Tensor, target: Tensor) -> Tensor:
        return relative_l1(predicted, target)


@BOX_LOSSES.register("relative_giou")
class RelativeGIoULoss(OnShares):
    """1 - GIoU of boxes as shares of the image (DETR); `eps` is added to both denominators (1e-6 from DAB-DETR on)."""

    def __init__(self, eps: float = 0.0) -> None:
        self.eps = eps

    def __call__(self, predicted: Tensor, target: Tensor) -> Tensor:
        return 1 - relative_giou(predicted, target, self.eps)


@BOX_LOSSES.register("relative_sides")
class RelativeSidesLoss(OnShares):
    """Mean of the absolute differences of the four sides, as shares of the image's width and height (YOLO26).

    YOLO26's code divides by the size of the padded batch; here it is the image's own.
    """

    def __call__(self, predicted: Tensor, target: Tensor) -> Tensor:
        return (predicted - target).abs().mean(-1)


@BOX_LOSSES.register("dfl")
class DistributionFocalLoss:
    """Cross entropy of each side's distance with the two whole numbers of strides beside it, mean over sides.

    Distribution focal loss (GFL, arXiv 2006.04388, eq. 6). A side farther than the distribution reaches counts as `eps`
    short of its end.

    Args:
        eps: GFL 0.1, YOLOv8 0.01.
        bins: how many numbers a head is to have that leaves it open; GFL 17, YOLOv8 16.
    """

    needs = frozenset({"distribution", "points", "strides"})

    def __init__(self, eps: float = 0.1, bins: int = 17) -> None:
        check_count("bins", bins, 2)
        self.eps = eps
        self.bins = bins

    def of_pairs(self, predictions: Predictions, targets: Targets, matches: Matches) -> Tensor:
        """(P,) loss of each pair."""
        at = matches.image, matches.sample
        logits = required("distribution", predictions.distribution)[at]  # (P, 4, K)
        distances = side_distances(predictions.points_at(*at), matches.target_boxes(targets))
        distances = (distances / predictions.strides_at(*at)[:, None]).clamp(0, logits.shape[-1] - 1 - self.eps)
        below = distances.floor()
        logs = -logits.log_softmax(-1).gather(-1, torch.stack([below, below + 1], -1).long())  # (P, 4, 2)
        share = distances - below
        return (logs * torch.stack([1 - share, share], -1)).sum(-1).mean(-1)


@BOX_LOSSES.register("log_size_l1")
class LogSizeL1Loss:
    """Sum of the absolute differences of the centre, in strides, and of the logs of width and height.

    What YOLOX (arXiv 2107.08430) trains the numbers of its head with that its boxes are made of, when augmentation ends. Sides
    count as at least `floor` strides, where the log of a collapsed box would be without end.

    Args:
        floor: of sides, strides.
    """

    needs = frozenset({"strides"})

    def __init__(self, floor: float = 1e-4) -> None:
        self.floor = floor

    def of_pairs(self, predictions: Predictions, targets: Targets, matches: Matches) -> Tensor:
        """(P,) distance of each pair's box from its target."""
        stride = predictions.strides_at(matches.image, matches.sample)[:, None]
        boxes = matches.predicted_boxes(predictions), matches.target_boxes(targets)
        middle, other = (center(each) / stride for each in boxes)
        size, wanted = ((sides(each) / stride).clamp(min=self.floor).log() for each in boxes)
        return ((middle - other).abs() + (size - wanted).abs()).sum(-1)


def build_box_loss(spec: Any) -> BoxLoss | dict[str, Weighted]:
    """A box loss, or several by name, or none.

    Args:
        spec: what BOX_LOSSES builds; or {name: coefficient} for several, which may be {name: {"weight": coefficient,
            ...arguments}}. Their entries in the loss are called loss_NAME, without a leading "relative_". None is without.

    Raises:
        ValueError: for an unknown name, and for two terms that would share an entry.
    """
    if spec is None:
        return {}
    if not isinstance(spec, Mapping) or "type" in spec:
        return BOX_LOSSES.build(spec)
    terms = BOX_LOSSES.build_weighted(spec)
    named = {name.removeprefix(RELATIVE): term for name, term in terms.items()}
    if len(named) < len(terms):
        raise ValueError(f"box_loss: expected terms that differ in more than {RELATIVE!r}, got {sorted(terms)}")
    return named


def box_terms(box_loss: BoxLoss | Mapping[str, Weighted]) -> dict[str, Weighted]:
    """The terms of a box loss by name; one alone is called "box"."""
    return dict(box_loss) if isinstance(box_loss, Mapping) else {"box": Weighted(box_loss, 1.0)}


def assignment_losses(
    predictions: Predictions,
    targets: Targets,
    scores: Scores,
    assignment: Assignment,
    box_loss: BoxLoss | Mapping[str, Weighted],
) -> dict[str, Tensor]:
    """The terms of the loss, each a scalar, or (G,) for predictions in G groups.

    Returns:
        loss_cls_pos: sum w⁺ (−log P) / Z⁺; with a background class, its part included.
        loss_cls_neg: sum w⁻ (−log(1 − P)) / Z⁻.
        loss_box: sum w° d(box, target) / Z°; with several box losses one entry each, loss_NAME, coefficient included.
        loss_bag: sum of −log of every object's bag / Z⁺, in the place of loss_cls_pos and loss_box where there are bags.

    Further losses of the weighting come as they are. Every term stays connected to the predictions (a sum over no pairs
    still has them as its source), so a batch without objects gives every parameter a gradient of zero and distributed
    training finds none unused.
    """
    if assignment.bag is None:
        pulling, boxes = _pair_losses(predictions, targets, scores, assignment, box_loss)
    else:
        pulling, boxes = {"loss_bag": group_sum(assignment.bag, None, predictions) / assignment.normalizers[0]}, {}
    pushing = group_sum(assignment.pushes.losses(scores), None, predictions)
    return {**pulling, "loss_cls_neg": pushing / assignment.normalizers[1], **boxes, **assignment.further}


def _pair_losses(
    predictions: Predictions,
    targets: Targets,
    scores: Scores,
    assignment: Assignment,
    box_loss: BoxLoss | Mapping[str, Weighted],
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The sums over pairs, of classes and of boxes."""
    matches = assignment.matches
    positive_norm, _, box_norm = assignment.normalizers.unbind()
    sum_of_pairs = partial(group_sum, image=matches.image, predictions=predictions)
    positive = sum_of_pairs(weighted(assignment.positive, -scores.log_present(matches, matches.labels(targets))))
    if assignment.background is not None:
        background = weighted(assignment.background, -required("log_background", scores.log_background))
        positive = positive + group_sum(background, None, predictions)
    box = {
        f"loss_{name}": weight
        * sum_of_pairs(weighted(assignment.box, pair_distances(term, predictions, targets, matches)))
        for name, (term, weight) in box_terms(box_loss).items()
    }
    return {"loss_cls_pos": positive / positive_norm}, {name: value / box_norm for name, value in box.items()}
