"""Simulated predictions of a dense head: what weightings that look at predictions can be shown on without a trained model.

Every point speaks for the smallest object that holds it. Its box errs the more the farther it is from that object's
centre (in units of the object's size) and the worse the object's size suits the point's level; most of the error is
shared by an object's points on a level, as a network's are. Scores follow the IoU, with a little noise. Points outside
all objects have a small box and scores near zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ...assigners import BACKGROUND, Matches, Predictions, Targets
from ...assigners.boxes import area, boxes_from_distances, center, iou, side_distances, squares
from ...assigners.matching.pairs import inside_pairs, keep_best_target
from ...heads.points import level_points

SUITABLE_STRIDES = 8.0  # an object of so many strides suits a level best, as for the anchors of ATSS
ERROR_AT_BEST = 0.05  # deviation of a side's logarithm at the centre of an object on the level that suits it
ERROR_AT_BORDER = 0.25  # added half an object's size away from its centre, growing with the square
ERROR_PER_OCTAVE = 0.12  # added for each factor of two between an object's size and what suits the level
SHARED_ERROR = 0.8  # share of the error's variance that an object's points on a level have in common
BACKGROUND_SCORE = 0.02  # of every class that is not the object's
BINS = 17  # of distributions of distances, as GFL's
SCORE_NOISE = 0.3  # deviation of logits


def simulate(
    targets: Targets, shape: tuple[int, int], strides: Sequence[int], num_classes: int, seed: int = 0
) -> Predictions:
    """Predictions for one image in the form of a class score times an objectness; the objectness estimates the IoU.

    Args:
        targets: of one image, B = 1.
        shape: height and width of the image, pixels; levels cover it with whole cells.
        strides: of the pyramid's levels, pixels.
        num_classes: C.
        seed: equal seeds give equal predictions.

    Raises:
        ValueError: when there is more than one image.
    """
    if len(targets.boxes) != 1:
        raise ValueError(f"targets: expected those of one image, got {len(targets.boxes)} images")
    generator = torch.Generator().manual_seed(seed)
    blank = empty_pyramid(shape, strides, num_classes)
    owner = smallest_owner(blank, targets)
    boxes = _boxes(blank, targets, owner, generator)
    owned = owner != BACKGROUND
    overlap = torch.zeros(len(owner))
    overlap[owned] = iou(boxes[owned], targets.boxes[0, owner[owned]])
    logits, objectness = _scores(overlap, targets.labels[0], owner, num_classes, generator)
    distribution = _distribution(boxes, blank.points, blank.strides)
    parts = {"boxes": boxes, "logits": logits, "objectness": objectness, "distribution": distribution}
    return replace(blank, **{name: tensor[None] for name, tensor in parts.items()})


def empty_pyramid(shape: tuple[int, int], strides: Sequence[int], num_classes: int) -> Predictions:
    """Zero predictions with the sample points of a pyramid over an image of `shape` (height, width).

    >>> empty_pyramid((16, 24), (8, 16), 1).level_sizes
    (6, 2)
    """
    like = torch.zeros(())
    grids = [level_points(math.ceil(shape[0] / s), math.ceil(shape[1] / s), s, like).flatten(0, 1) for s in strides]
    points, sizes = torch.cat(grids), tuple(len(grid) for grid in grids)
    per_point = torch.cat([torch.full((size,), float(s)) for size, s in zip(sizes, strides, strict=True)])
    logits, boxes = torch.zeros(1, len(points), num_classes), torch.zeros(1, len(points), 4)
    return Predictions(logits, boxes, points=points, strides=per_point, level_sizes=sizes)


def smallest_owner(predictions: Predictions, targets: Targets) -> Tensor:
    """(N,) the smallest target of one image that holds each point, BACKGROUND where none does."""
    image, sample, target = inside_pairs(predictions, targets, chunk=64)
    matches = Matches(image, sample, target, torch.ones(len(sample)))
    matches = keep_best_target(matches, -area(matches.target_boxes(targets)), predictions, targets)
    owner = torch.full((len(predictions.points),), BACKGROUND)
    owner[matches.sample] = matches.target
    return owner


def _boxes(predictions: Predictions, targets: Targets, owner: Tensor, generator: torch.Generator) -> Tensor:
    """(N, 4) the owner's box, or four strides around the point, with errors of the sides."""
    wanted = squares(predictions.points, 4 * predictions.strides)
    error = torch.full((len(owner),), 2 * ERROR_AT_BEST)
    owned = owner != BACKGROUND
    wanted[owned] = targets.boxes[0, owner[owned]]
    error[owned] = _error(predictions.points[owned], predictions.strides[owned], wanted[owned])
    noise = _noise(predictions, owner, targets.boxes.shape[1], generator)
    distances = side_distances(predictions.points, wanted) * torch.exp(error[:, None] * noise)
    return boxes_from_distances(predictions.points, distances)


def _noise(predictions: Predictions, owner: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """(N, 4) normal errors of unit variance, in part common to an object's points on a level."""
    sizes = torch.tensor(predictions.level_sizes)
    level = torch.arange(len(sizes)).repeat_interleave(sizes)
    shared = torch.randn(len(sizes), count + 1, 4, generator=generator)[level, owner]  # BACKGROUND reads the last
    own = torch.randn(len(owner), 4, generator=generator)
    return SHARED_ERROR**0.5 * shared + (1 - SHARED_ERROR) ** 0.5 * own


def _error(points: Tensor, strides: Tensor, boxes: Tensor) -> Tensor:
    """(K,) deviation of the logarithm of each side that points (K, 2) predict for their boxes (K, 4)."""
    size = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1)
    distance = (2 * (points - center(boxes)) / size).square().sum(-1)  # 1 half a size away along one axis
    octaves = (size.prod(-1).sqrt() / (SUITABLE_STRIDES * strides)).log2().abs()
    return ERROR_AT_BEST + ERROR_AT_BORDER * distance + ERROR_PER_OCTAVE * octaves


def _scores(
    overlap: Tensor, labels: Tensor, owner: Tensor, num_classes: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Class logits (N, C) and objectness logits (N,): the objectness is the IoU, the owner's class its square root."""
    probability = torch.full((len(owner), num_classes), BACKGROUND_SCORE)
    owned = (owner != BACKGROUND).nonzero()[:, 0]
    probability[owned, labels[owner[owned]]] = overlap[owned].sqrt()
    logits = _logit(probability) + SCORE_NOISE * torch.randn(probability.shape, generator=generator)
    return logits, _logit(overlap) + SCORE_NOISE * torch.randn(overlap.shape, generator=generator)


def _distribution(boxes: Tensor, points: Tensor, strides: Tensor) -> Tensor:
    """(N, 4, BINS) logits of distributions of distances that are sure of boxes (N, 4), as far as they reach."""
    distances = (side_distances(points, boxes) / strides[:, None]).clamp(0, BINS - 1)
    share = 1 - (distances[..., None] - torch.arange(BINS)).abs()  # of the two whole numbers beside it
    return share.clamp(min=1e-6).log()


def _logit(probability: Tensor) -> Tensor:
    return torch.logit(probability, eps=BACKGROUND_SCORE)
