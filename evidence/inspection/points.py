"""The three weights of an assignment laid out on the pyramid, and what every target gets of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...assigners import Assigner, Assignment, Predictions, Targets
from ...assigners.quality import predicted_iou
from .samples import Samples, check_one_image, check_provided, samples_from

NEEDED = ("points", "strides", "level_sizes")
SPARED = 0.995  # a share of w⁻ from which nothing is spared, in whole percent


@dataclass(frozen=True)
class TargetShare:
    """What one target gets from one assigner.

    Attributes:
        pairs: samples that it pushes up.
        effective: how many equally strong ones they amount to.
        strides: of the levels they are on.
        positive: sum of its w⁺.
        best_iou: highest IoU of a box that one of its pairs predicts, None without pairs.
    """

    pairs: int
    effective: float
    strides: tuple[int, ...]
    positive: float
    best_iou: float | None


@dataclass(frozen=True)
class Inspection:
    """One image's assignment, level by level: L levels of (H_l, W_l) cells, M targets.

    Attributes:
        name: of the assigner.
        strides: (L,) pixels per cell of each level.
        positive: L arrays (H_l, W_l), w⁺ summed over each sample's pairs.
        negative: L arrays (H_l, W_l), w⁻ as a share of what the sample would get in an image without objects, for the
            class for which this differs most from 1: 0 is spared, 1 is background, above 1 is pushed down harder.
        box: L arrays (H_l, W_l), w° summed over each sample's pairs.
        level_pairs: (L, M) how many samples of each level each target pushes up.
        typical: w⁺ and w° of the best pair of a typical target, the median over targets; 0 without pairs.
        targets: M shares.
        sums: Σw⁺, Σw⁻ and Σw°.
        normalizers: what the three terms of the loss are divided by.
        samples: the pairs one by one.
    """

    name: str
    strides: tuple[int, ...]
    positive: list[np.ndarray]
    negative: list[np.ndarray]
    box: list[np.ndarray]
    level_pairs: np.ndarray
    typical: tuple[float, float]
    targets: list[TargetShare]
    sums: tuple[float, float, float]
    normalizers: tuple[float, float, float]
    samples: Samples

    def acts_on(self, level: int) -> bool:
        """Whether anything on a level differs from an image without objects."""
        pulled = self.positive[level].any() or self.box[level].any()
        return bool(pulled or (np.abs(self.negative[level] - 1) > 1 - SPARED).any())

    def points_that_learn(self, level: int) -> tuple[np.ndarray, np.ndarray]:
        """Points (K, 2) xy, pixels, of a level that have w⁺ or w°, and those two (K, 2)."""
        row, column = np.nonzero((self.positive[level] > 0) | (self.box[level] > 0))
        points = (np.stack([column, row], 1) + 0.5) * self.strides[level]
        return points, np.stack([self.positive[level][row, column], self.box[level][row, column]], 1)

    def target(self, index: int) -> dict[str, Any]:
        """All there is about one target, in plain values."""
        return asdict(self.targets[index])

    def totals(self) -> dict[str, Any]:
        """Figures of the whole image; means are per target."""
        count = max(len(self.targets), 1)
        return {
            "targets": len(self.targets),
            "without_positive": sum(target.pairs == 0 for target in self.targets),
            "pairs": sum(target.pairs for target in self.targets),
            "pairs_per_target": sum(target.pairs for target in self.targets) / count,
            "effective_per_target": sum(target.effective for target in self.targets) / count,
            **dict(zip(("sum_positive", "sum_negative", "sum_box"), self.sums, strict=True)),
            **dict(zip(("norm_positive", "norm_negative", "norm_box"), self.normalizers, strict=True)),
        }


@torch.no_grad()
def inspect(name: str, assigner: Assigner, predictions: Predictions, targets: Targets) -> Inspection:
    """What an assigner makes of the predictions for one image.

    Args:
        name: to call the assigner by.
        assigner: any.
        predictions: of one image, B = 1, with points, strides and level sizes, in the form of the assigner's score
            model (see `subjects.translate`).
        targets: of that image, unpadded.

    Raises:
        ValueError: when there is more than one image, or the predictions lack what the assigner or the drawing needs.
    """
    check_one_image(targets)
    check_provided(name, assigner, predictions, frozenset(NEEDED))
    assignment = assigner(predictions, targets)
    share = negative_share(assignment, assigner(predictions, without_objects(targets)))
    grids = grid_shapes(predictions)
    level_pairs = _level_pairs(assignment, predictions, targets)
    strides = tuple(int(level[0]) for level in predictions.strides.split(predictions.level_sizes))
    sums = (assignment.positive.sum(), assignment.negative.sum(), assignment.box.sum())
    return Inspection(
        name,
        strides,
        on_grids(sum_per_sample(assignment, assignment.positive), grids),
        on_grids(share, grids),
        on_grids(sum_per_sample(assignment, assignment.box), grids),
        level_pairs.numpy(),
        tuple(typical_peak(assignment, weight, targets) for weight in (assignment.positive, assignment.box)),
        _target_shares(assignment, predictions, targets, level_pairs, strides),
        tuple(float(value) for value in sums),
        tuple(assignment.normalizers.tolist()),
        samples_from(name, assigner, assignment, predictions, targets),
    )


def without_objects(targets: Targets) -> Targets:
    """The image as if there were nothing on it."""
    return replace(targets, mask=torch.zeros_like(targets.mask), ignore_boxes=None, ignore_mask=None)


def negative_share(assignment: Assignment, background: Assignment) -> Tensor:
    """(N,) w⁻ of one image as a share of w⁻ in an assignment without objects, where it differs most from 1."""
    reference = background.negative[0]
    share = torch.where(reference > 0, assignment.negative[0] / reference, 1.0)  # (N, C)
    most = (share - 1).abs().argmax(-1, keepdim=True)
    return share.gather(-1, most)[:, 0]


def sum_per_sample(assignment: Assignment, weight: Tensor) -> Tensor:
    """(N,) sums of a weight (P,) over each sample's pairs, of one image."""
    return weight.new_zeros(assignment.pushes.shape[1]).index_add_(0, assignment.matches.sample, weight)


def typical_peak(assignment: Assignment, weight: Tensor, targets: Targets) -> float:
    """Median over the targets of the largest of a weight (P,) among a target's pairs, of one image."""
    peaks = weight.new_zeros(targets.boxes.shape[1]).scatter_reduce_(0, assignment.matches.target, weight, "amax")
    peaks = peaks[peaks > 0]
    return float(peaks.median()) if len(peaks) else 0.0


def grid_shapes(predictions: Predictions) -> list[tuple[int, int]]:
    """Rows and columns of every level, from its points in row order."""
    levels = predictions.points.split(predictions.level_sizes)
    columns = [int((level[:, 1] == level[0, 1]).sum()) for level in levels]
    return [(len(level) // width, width) for level, width in zip(levels, columns, strict=True)]


def on_grids(values: Tensor, grids: Sequence[tuple[int, int]]) -> list[np.ndarray]:
    """Values (N,) as one array (H_l, W_l) per level."""
    parts = values.cpu().split([rows * columns for rows, columns in grids])
    return [part.reshape(grid).numpy() for part, grid in zip(parts, grids, strict=True)]


def _level_pairs(assignment: Assignment, predictions: Predictions, targets: Targets) -> Tensor:
    """(L, M) how many samples of each level each target pushes up."""
    sizes, count = torch.tensor(predictions.level_sizes), targets.boxes.shape[1]
    level = torch.arange(len(sizes)).repeat_interleave(sizes)
    pushed = assignment.matches.select(assignment.positive > 0)
    slot = level[pushed.sample.cpu()] * count + pushed.target.cpu()
    return torch.bincount(slot, minlength=len(sizes) * count).view(len(sizes), count)


def _target_shares(
    assignment: Assignment, predictions: Predictions, targets: Targets, level_pairs: Tensor, strides: tuple[int, ...]
) -> list[TargetShare]:
    target = assignment.matches.target
    sums = assignment.positive.new_zeros(targets.boxes.shape[1]).index_add_(0, target, assignment.positive)
    overlap = predicted_iou(predictions, targets.to(target.device), assignment.matches)
    best = torch.full_like(sums, -1).scatter_reduce_(0, target, overlap.to(sums), "amax")
    return [
        TargetShare(
            pairs=int(pairs.sum()),
            effective=float(effective),
            strides=tuple(stride for stride, number in zip(strides, pairs.tolist(), strict=True) if number),
            positive=float(total),
            best_iou=float(iou) if iou >= 0 else None,
        )
        for pairs, effective, total, iou in zip(
            level_pairs.T, assignment.effective_positives(targets)[0], sums, best, strict=True
        )
    ]
