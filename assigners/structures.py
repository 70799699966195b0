"""What goes into an assigner and what comes out: predictions, padded targets, matched pairs, three weights.

Letters used everywhere: B images, N samples (points or queries), M padded targets, C classes, P matched pairs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .fields import check_bool, check_geometry, check_shape, map_tensors
from .needs import required
from .pushes import Given, Pushes
from .targets import Targets

__all__ = ["BACKGROUND", "Assignment", "Matches", "Predictions", "Targets"]

BACKGROUND = -1
"""Index of "no target" wherever a sample's target is written down."""

SHARED = {"points": 2, "strides": 1, "priors": 2}
"""Dimensions of a geometry that all images share; one that differs by image has one more."""


@dataclass(frozen=True)
class Predictions:
    """One batch of predictions of any head, all pyramid levels flattened in the order level, row, column.

    Attributes:
        logits: (B, N, C) class logits; a softmax score model expects one more column, the background, at the end.
        boxes: (B, N, 4) xyxy, pixels.
        objectness: (B, N) logits of a second, class-free branch, or None.
        points: (N, 2) xy, pixels, where the samples sit; (B, N, 2) where that differs by image (queries); or None.
        strides: (N,) or (B, N) pixels per cell of each sample's level, or None.
        level_sizes: number of samples on each level; they add up to N. None beside strides (B, N) says that there are no
            levels: every sample stands for itself (queries).
        priors: (N, 4) or (B, N, 4) xyxy anchor boxes, or None: matchings that need them draw squares around the points.
        distribution: (B, N, 4, K) logits of each side's distance over K whole numbers of strides from 0 (GFL), or None.
        valid: (B, N) bool, False for samples outside an image (batch padding); None means all are valid.
        groups: G, when the B entries are G stacked batches (decoder layers, query groups), group after group: entry
            g * (B / G) + i is image i of group g. Every group is normalised and summed by itself. None is one batch.
        final: which group is the detector's answer, the last decoder layer, where groups are layers; None is the last.
        auxiliary: what a second head, which only trains, predicts of the same images (`TwoHeaded`), or None.

    Raises:
        ValueError: when the shapes do not belong together, a mask is not bool, B is not a multiple of groups, or there is no
            group `final`.
    """

    logits: Tensor
    boxes: Tensor
    objectness: Tensor | None = None
    points: Tensor | None = None
    strides: Tensor | None = None
    level_sizes: tuple[int, ...] | None = None
    priors: Tensor | None = None
    valid: Tensor | None = None
    groups: int | None = None
    distribution: Tensor | None = None
    auxiliary: Predictions | None = None
    final: int | None = None

    def __post_init__(self) -> None:
        if self.logits.dim() != 3:
            raise ValueError(f"logits: expected shape (B, N, C), got {tuple(self.logits.shape)}")
        images, samples = self.logits.shape[:2]
        expected = {
            "boxes": (images, samples, 4),
            "objectness": (images, samples),
            "valid": (images, samples),
        }
        for name, shape in expected.items():
            check_shape(name, getattr(self, name), shape)
        for name, shape in {"points": (samples, 2), "strides": (samples,), "priors": (samples, 4)}.items():
            check_geometry(name, getattr(self, name), shape, images)
        if self.distribution is not None:
            check_shape("distribution", self.distribution[..., 0], (images, samples, 4))
        check_bool("valid", self.valid)
        if self.level_sizes is not None and sum(self.level_sizes) != samples:
            raise ValueError(f"level_sizes: {self.level_sizes} add up to {sum(self.level_sizes)}, not to N = {samples}")
        if self.groups is not None and (self.groups < 1 or images % self.groups):
            raise ValueError(f"groups: expected a divisor of the {images} stacked images, got {self.groups}")
        if self.final is not None and not 0 <= self.final < (self.groups or 1):
            raise ValueError(f"final: expected one of {self.groups or 1} groups, counted from 0, got {self.final}")

    @property
    def final_group(self) -> int:
        """Which group is the detector's answer, counted from 0."""
        return (self.groups or 1) - 1 if self.final is None else self.final

    @property
    def provides(self) -> frozenset[str]:
        """Names of the optional parts that are present; samples with strides of their own need no levels."""
        present = {f.name for f in fields(self) if getattr(self, f.name) is not None}
        return frozenset(present | {"level_sizes"} if self.strides is not None and self.strides.dim() == 2 else present)

    @property
    def all_points(self) -> Tensor:
        """(1, N, 2) or (B, N, 2) xy, pixels: the points with an axis for images, whether they differ or not."""
        return self._all("points")

    @property
    def all_strides(self) -> Tensor:
        """(1, N) or (B, N) pixels per cell: likewise."""
        return self._all("strides")

    @property
    def all_priors(self) -> Tensor:
        """(1, N, 4) or (B, N, 4) xyxy anchor boxes: likewise."""
        return self._all("priors")

    def points_at(self, image: Tensor, sample: Tensor) -> Tensor:
        """(P, 2) xy, pixels, of sample[p] of image[p]."""
        return self._at("points", image, sample)

    def strides_at(self, image: Tensor, sample: Tensor) -> Tensor:
        """(P,) pixels per cell of sample[p] of image[p]."""
        return self._at("strides", image, sample)

    def priors_at(self, image: Tensor, sample: Tensor) -> Tensor:
        """(P, 4) xyxy anchor box of sample[p] of image[p]."""
        return self._at("priors", image, sample)

    def _all(self, name: str) -> Tensor:
        geometry = required(name, getattr(self, name))
        return geometry[None] if geometry.dim() == SHARED[name] else geometry

    def _at(self, name: str, image: Tensor, sample: Tensor) -> Tensor:
        geometry = required(name, getattr(self, name))
        return geometry[sample] if geometry.dim() == SHARED[name] else geometry[image, sample]

    def first_group(self) -> Predictions:
        """The first of the stacked batches alone, without what a second head predicts."""
        images = len(self.logits) // (self.groups or 1)
        tensors = {f.name: getattr(self, f.name) for f in fields(self)}
        own = {n: t for n, t in tensors.items() if isinstance(t, Tensor) and t.dim() != SHARED.get(n)}
        return replace(self, **{n: t[:images] for n, t in own.items()}, groups=None, final=None, auxiliary=None)

    def at_least_float32(self) -> Predictions:
        """The same predictions with half-precision tensors widened: assignment is never done in half precision."""
        return map_tensors(self, lambda t: t.float() if t.dtype in (torch.float16, torch.bfloat16) else t)


@dataclass(frozen=True)
class Matches:
    """The answer of a matching: which samples may answer for which target.

    Attributes:
        image, sample, target: (P,) long; pair p joins sample[p] of image[p] with target[p] of the same image.
        score: (P,) how much the matching likes the pair, 1 where it does not grade (centre prior, IoU, …).
        ignored: (B, N) bool, samples that are not pushed down (crowd regions, IoUs between two thresholds), or None.
        spared: (3, K) long, image, sample and class of entries that are not pushed down (of objects that lost the sample to
            another, or surround it), in any order, repeated or not, save those of a pair; or None.
        of_boxes: the pairs whose boxes are learned, where these are others than the pairs above, which then learn classes
            alone; None where each learns both. They keep to no `select`.
    """

    image: Tensor
    sample: Tensor
    target: Tensor
    score: Tensor
    ignored: Tensor | None = None
    spared: Tensor | None = None
    of_boxes: Matches | None = None

    def select(self, keep: Tensor) -> Matches:
        """The pairs that `keep`, (P,) bool or an index, picks."""
        if keep.dtype == torch.bool:
            keep = keep.nonzero()[:, 0]  # once: the count must come to the host, and four masks would each wait for it
        return replace(
            self, image=self.image[keep], sample=self.sample[keep], target=self.target[keep], score=self.score[keep]
        )

    def followed_by(self, others: Matches) -> Matches:
        """These pairs and then others, beside what these ignore and spare."""
        names = ("image", "sample", "target", "score")
        return replace(self, **{name: torch.cat([getattr(self, name), getattr(others, name)]) for name in names})

    def repeat(self, groups: int, images: int) -> Matches:
        """The same pairs in each of `groups` stacked batches of `images` (see `Predictions.groups`)."""
        offset = torch.arange(0, groups * images, images, device=self.image.device)
        spared = self.spared
        if spared is not None:
            spared = torch.stack([(spared[0] + offset[:, None]).flatten(), *spared[1:].repeat(1, groups)])
        return Matches(
            (self.image + offset[:, None]).flatten(),
            self.sample.repeat(groups),
            self.target.repeat(groups),
            self.score.repeat(groups),
            None if self.ignored is None else self.ignored.repeat(groups, 1),
            spared,
            None if self.of_boxes is None else self.of_boxes.repeat(groups, images),
        )

    def labels(self, targets: Targets) -> Tensor:
        """(P,) class of each pair's target."""
        return targets.labels[self.image, self.target]

    def target_boxes(self, targets: Targets) -> Tensor:
        """(P, 4) xyxy box of each pair's target."""
        return targets.boxes[self.image, self.target]

    def predicted_boxes(self, predictions: Predictions) -> Tensor:
        """(P, 4) xyxy box that each pair's sample predicts."""
        return predictions.boxes[self.image, self.sample]

    def spared_entries(self, targets: Targets, shape: torch.Size) -> Tensor:
        """Which entries of `shape`, (B, N, C), are spared -> bool."""
        entries = torch.zeros(shape, dtype=torch.bool, device=self.image.device)
        if self.spared is not None:
            entries[tuple(self.spared)] = True
            entries[self.image, self.sample, self.labels(targets)] = False
        return entries

    def flat_target(self, targets: Targets) -> Tensor:
        """(P,) index of each pair's target among the B * M targets of the batch."""
        return self.image * targets.boxes.shape[1] + self.target


class _Dense:
    """The field `negative`: takes a tensor, or what works one out, and reads as the tensor."""

    def __get__(self, assignment: Assignment | None, owner: type) -> Tensor:
        if assignment is None:
            raise AttributeError("negative: a field without a default")
        return assignment.pushes.dense

    def __set__(self, assignment: Assignment, value: Tensor | Pushes) -> None:
        object.__setattr__(assignment, "pushes", Given(value) if isinstance(value, Tensor) else value)


@dataclass(frozen=True)
class Assignment:
    """A label assignment: the three weights of the loss and what they are divided by.

    L = sum w⁺ (−log P) / Z⁺ + sum w⁻ (−log(1 − P)) / Z⁻ + sum w° d(box, target) / Z°

    The weights are finite whatever the predictions are: a score, box or quality that is not a number counts as zero.
    The loss is not: a prediction that is not a number makes it so wherever it takes part, so a diverged run shows it.

    Attributes:
        matches: the pairs.
        positive: (P,) w⁺, on the class of each pair's target.
        negative: (B, N, C) w⁻. Takes `Pushes` too, which are kept as `pushes`: the loss then never has w⁻ as a whole.
        box: (P,) w°.
        normalizers: (3,) Z⁺, Z⁻, Z°, reduced over ranks and floored; (3, G) for predictions in G groups.
        background: (B, N) w⁺ on the background class of a softmax score model, or None.
        bag: (B, M) −log likelihood of every target's bag of samples, with gradient, 0 in padding; it takes the place of the
            sums over pairs, which then only say what each pair's share is. None where pairs learn by themselves.
        further: losses of the weighting's own by name, each a scalar, or (G,) for predictions in G groups.
        details: what else the weighting derived, by name, for inspection.
        of_classes: the pairs whose classes are learned, where others among `matches` learn a box alone; None where each does.
    """

    matches: Matches
    positive: Tensor
    if TYPE_CHECKING:  # what `_Dense` makes of it
        negative: Tensor
        pushes: Pushes
    else:
        negative: Tensor = _Dense()
    box: Tensor
    normalizers: Tensor
    background: Tensor | None = None
    bag: Tensor | None = None
    further: Mapping[str, Tensor] = field(default_factory=dict)
    details: Mapping[str, Tensor] = field(default_factory=dict)
    of_classes: Matches | None = None

    if TYPE_CHECKING:

        def __init__(
            self,
            matches: Matches,
            positive: Tensor,
            negative: Tensor | Pushes,
            box: Tensor,
            normalizers: Tensor,
            background: Tensor | None = None,
            bag: Tensor | None = None,
            further: Mapping[str, Tensor] = ...,
            details: Mapping[str, Tensor] = ...,
            of_classes: Matches | None = None,
        ) -> None: ...

    @property
    def class_matches(self) -> Matches:
        """The pairs whose classes are learned."""
        return self.matches if self.of_classes is None else self.of_classes

    def target_of(self, num_samples: int) -> Tensor:
        """(B, N) index of the target that pushes each sample up the most, BACKGROUND where none does."""
        images, weight = self.pushes.shape[0], self.positive.detach()
        flat = self.matches.image * num_samples + self.matches.sample
        most = weight.new_zeros(images * num_samples).scatter_reduce_(0, flat, weight, "amax")
        wins = (weight > 0) & (weight == most[flat])
        pair = torch.where(wins, torch.arange(len(flat), device=flat.device), -1)
        chosen = flat.new_full((images * num_samples,), -1).scatter_reduce_(0, flat, pair, "amax")
        target = torch.cat([self.matches.target, flat.new_full((1,), BACKGROUND)])  # of pair -1
        return target[chosen].view(images, num_samples)

    def pairs_per_target(self, targets: Targets) -> Tensor:
        """(B, M) how many samples each target pushes up (w⁺ > 0)."""
        return self._per_target((self.positive.detach() > 0).to(self.positive.dtype), targets)

    def weight_per_target(self, targets: Targets) -> Tensor:
        """(B, M) sum of the w⁺ that each target gets."""
        return self._per_target(self.positive.detach(), targets)

    def effective_positives(self, targets: Targets) -> Tensor:
        """(B, M) (sum w⁺)² / sum w⁺²: the count of positives where they weigh the same, less where a few dominate."""
        weight = self.positive.detach()
        total, squares = self.weight_per_target(targets), self._per_target(weight**2, targets)
        return total**2 / squares.clamp(min=torch.finfo(squares.dtype).tiny)

    def _per_target(self, values: Tensor, targets: Targets) -> Tensor:
        sums = values.new_zeros(targets.mask.numel())
        return sums.index_add_(0, self.matches.flat_target(targets), values).view(targets.mask.shape)
