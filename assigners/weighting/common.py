"""What weightings share: the weights of boxes, the counts behind normalisers, and silencing ignored samples."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from ..boxes import center, centerness, side_distances
from ..quality import predicted_iou
from ..scores import Scores
from ..structures import Matches, Predictions, Targets

BoxWeight = Literal["one", "centerness", "score", "iou", "target"]
Count = Literal["positives", "targets", "targets_once", "weights", "images", "positives_and_images"]


def box_weights(
    kind: BoxWeight,
    predictions: Predictions,
    targets: Targets,
    matches: Matches,
    scores: Scores,
    wanted: Tensor,
    least_side: float = 0.0,
) -> Tensor:
    """(P,) w° of each pair, without gradient.

    1, the centerness of its point in the box (FCOS), its sample's best P (GFL), the IoU of its box (VFNet), or `wanted`,
    the score (P,) that it should reach (TOOD). `least_side` is of the centerness, see `pair_centerness`.
    """
    if kind == "target":
        return wanted
    if kind == "iou":
        return predicted_iou(predictions, targets, matches)
    if kind == "centerness":
        return pair_centerness(predictions, targets, matches, least_side)
    if kind == "score":
        return scores.best_at(matches.image, matches.sample)
    return torch.ones_like(matches.score, dtype=predictions.boxes.dtype)


def pair_centerness(predictions: Predictions, targets: Targets, matches: Matches, least_side: float = 0.0) -> Tensor:
    """(P,) FCOS centerness of each pair's point in its target's box; anchors count with their centres.

    A point is at least `least_side` strides from every side, so that one outside the box has a centerness that is not 0 (RFLA).
    """
    if predictions.priors is not None:
        points = center(predictions.priors_at(matches.image, matches.sample))
    elif predictions.points is not None:
        points = predictions.points_at(matches.image, matches.sample)
    else:
        raise ValueError("centerness: the predictions have neither points nor priors to measure it from")
    distances = side_distances(points, matches.target_boxes(targets))
    if least_side:
        least = least_side * predictions.strides_at(matches.image, matches.sample)
        distances = torch.maximum(distances, least[:, None])
    return centerness(distances)


def group_sum(values: Tensor, image: Tensor | None, predictions: Predictions) -> Tensor:
    """The sum of all values, a scalar; for predictions in G groups (G,) sums, one for each group.

    Args:
        values: (P,), of pairs, or (B, ...), of images.
        image: (P,) the image of each pair; None for values of images.
        predictions: say how many groups there are.
    """
    groups = predictions.groups
    if groups is None:
        return values.sum()
    if image is None:
        return values.reshape(groups, -1).sum(1)
    group = image // (len(predictions.logits) // groups)
    return values.new_zeros(groups).index_add(0, group, values)


def counted(
    kind: Count, weights: Tensor, targets: Targets, matches: Matches, predictions: Predictions, floor_per_image: bool
) -> Tensor:
    """What a sum over pairs of `weights` (P,) is divided by on this rank, a float scalar or (G,)."""
    if kind == "targets":
        return count_objects(matches, targets, predictions)
    if kind == "targets_once":
        return count_targets(targets, predictions)
    if kind == "images":
        images = len(predictions.logits) // (predictions.groups or 1)
        return count_positives(matches, predictions, floor_per_image=False).clamp(min=images)
    if kind == "positives_and_images":
        images = len(predictions.logits) // (predictions.groups or 1)
        return count_positives(matches, predictions, floor_per_image=False) + images
    if kind == "weights":
        return group_sum(weights.detach(), matches.image, predictions)
    return count_positives(matches, predictions, floor_per_image)


def count_positives(matches: Matches, predictions: Predictions, floor_per_image: bool) -> Tensor:
    """Number of pairs, a float scalar or (G,); with `floor_per_image` an image without any counts as one (as mmdet's)."""
    zeros = matches.score.new_zeros(len(predictions.logits))
    per_image = zeros.index_add_(0, matches.image, torch.ones_like(matches.score))
    return group_sum(per_image.clamp(min=1) if floor_per_image else per_image, None, predictions)


def count_objects(matches: Matches, targets: Targets, predictions: Predictions) -> Tensor:
    """Number of targets, or of pairs where there are more of them, a float scalar or (G,).

    DETR's num_boxes: a target without a sample counts, and denoising queries count as often as they repeat a target.
    """
    return torch.maximum(
        count_targets(targets, predictions), count_positives(matches, predictions, floor_per_image=False)
    )


def count_targets(targets: Targets, predictions: Predictions) -> Tensor:
    """Number of targets, a float scalar or (G,)."""
    return group_sum(targets.mask.to(predictions.logits.dtype), None, predictions)


def countable(predictions: Predictions, matches: Matches) -> Tensor:
    """(B, N, 1) or scalar 1: zero for samples that must not be pushed down (ignored, or outside the image)."""
    keep = predictions.logits.new_ones(())
    if matches.ignored is not None:
        keep = keep * ~matches.ignored[..., None]
    if predictions.valid is not None:
        keep = keep * predictions.valid[..., None]
    return keep


def countable_as_background(predictions: Predictions, matches: Matches) -> Tensor:
    """(B, N) or scalar 1: likewise for being no object at all, also zero where a class of a sample without a pair is spared."""
    keep = countable(predictions, matches).squeeze(-1)
    if matches.spared is None:
        return keep
    image, sample, _ = matches.spared
    spared = torch.zeros(predictions.logits.shape[:2], dtype=torch.bool, device=image.device)
    spared[image, sample] = True
    spared[matches.image, matches.sample] = False
    return keep * ~spared
