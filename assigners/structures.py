"""What goes into an assigner and what comes out: predictions, padded targets, matched pairs, three weights.

Letters used everywhere: B images, N samples (points or queries), M padded targets, C classes, P matched pairs.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ..ops.transfer import to_device
from .checks import AssignmentWarning
from .pushes import Given, Pushes

BACKGROUND = -1
"""Index of "no target" wherever a sample's target is written down."""


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
            _check_shape(name, getattr(self, name), shape)
        for name, shape in {"points": (samples, 2), "strides": (samples,), "priors": (samples, 4)}.items():
            _check_geometry(name, getattr(self, name), shape, images)
        if self.distribution is not None:
            _check_shape("distribution", self.distribution[..., 0], (images, samples, 4))
        _check_bool("valid", self.valid)
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
        return self.points if self.points.dim() == 3 else self.points[None]

    @property
    def all_strides(self) -> Tensor:
        """(1, N) or (B, N) pixels per cell: likewise."""
        return self.strides if self.strides.dim() == 2 else self.strides[None]

    def points_at(self, image: Tensor, sample: Tensor) -> Tensor:
        """(P, 2) xy, pixels, of sample[p] of image[p]."""
        return self.points[sample] if self.points.dim() == 2 else self.points[image, sample]

    def strides_at(self, image: Tensor, sample: Tensor) -> Tensor:
        """(P,) pixels per cell of sample[p] of image[p]."""
        return self.strides[sample] if self.strides.dim() == 1 else self.strides[image, sample]

    def priors_at(self, image: Tensor, sample: Tensor) -> Tensor:
        """(P, 4) xyxy anchor box of sample[p] of image[p]."""
        return self.priors[sample] if self.priors.dim() == 2 else self.priors[image, sample]

    def first_group(self) -> Predictions:
        """The first of the stacked batches alone, without what a second head predicts."""
        images = len(self.logits) // (self.groups or 1)
        of_all = {"points": 2, "strides": 1, "priors": 2}  # dimensions of a geometry that all images share
        tensors = {f.name: getattr(self, f.name) for f in fields(self)}
        own = {n: t for n, t in tensors.items() if isinstance(t, Tensor) and t.dim() != of_all.get(n)}
        return replace(self, **{n: t[:images] for n, t in own.items()}, groups=None, final=None, auxiliary=None)

    def at_least_float32(self) -> Predictions:
        """The same predictions with half-precision tensors widened: assignment is never done in half precision."""
        return _map_tensors(self, lambda t: t.float() if t.dtype in (torch.float16, torch.bfloat16) else t)


@dataclass(frozen=True)
class Targets:
    """The objects of one batch, padded to M per image.

    Attributes:
        boxes: (B, M, 4) xyxy, pixels.
        labels: (B, M) long, 0 <= label < C.
        mask: (B, M) bool, True where there is an object.
        ignore_boxes: (B, I, 4) xyxy, pixels; crowd regions in which a sample is not punished, or None.
        ignore_mask: (B, I) bool, or None.
        sizes: (B, 2) width and height of each image without batch padding, pixels; None where nobody asks for boxes
            as shares of the image.

    Labels of any integer type are kept as long.

    Raises:
        ValueError: when the shapes do not belong together, a mask is not bool or the labels are not integers.
    """

    boxes: Tensor
    labels: Tensor
    mask: Tensor
    ignore_boxes: Tensor | None = None
    ignore_mask: Tensor | None = None
    sizes: Tensor | None = None

    def __post_init__(self) -> None:
        if self.boxes.dim() != 3 or self.boxes.shape[-1] != 4:
            raise ValueError(f"boxes: expected shape (B, M, 4), got {tuple(self.boxes.shape)}")
        for name in ("labels", "mask"):
            _check_shape(name, getattr(self, name), tuple(self.boxes.shape[:2]))
        if (self.ignore_boxes is None) != (self.ignore_mask is None):
            raise ValueError("ignore_boxes and ignore_mask: expected both or neither")
        if self.ignore_boxes is not None:
            if self.ignore_boxes.dim() != 3 or self.ignore_boxes.shape[-1] != 4:
                raise ValueError(f"ignore_boxes: expected shape (B, I, 4), got {tuple(self.ignore_boxes.shape)}")
            _check_shape("ignore_mask", self.ignore_mask, (len(self.boxes), self.ignore_boxes.shape[1]))
        object.__setattr__(self, "labels", _indices("labels", self.labels))
        _check_bool("mask", self.mask)
        _check_bool("ignore_mask", self.ignore_mask)
        _check_shape("sizes", self.sizes, (len(self.boxes), 2))

    @classmethod
    def from_lists(
        cls,
        boxes: Sequence[Tensor],
        labels: Sequence[Tensor],
        ignore_boxes: Sequence[Tensor] | None = None,
        sizes: Tensor | None = None,
    ) -> Targets:
        """Pad one tensor per image into a batch.

        Args:
            boxes: B tensors (G, 4) xyxy, pixels; G may differ and may be 0.
            labels: B tensors (G,) of integers, of any type where G is 0; for a single-class problem all zeros.
            ignore_boxes: B tensors (I, 4) xyxy, pixels, or None.
            sizes: (B, 2) width and height of the images, pixels, or None; taken to where the boxes are.

        Raises:
            ValueError: when there is no image, not one tensor per image, a different number of boxes and labels, or labels
                are not integers.

        >>> targets = Targets.from_lists([torch.zeros(2, 4), torch.zeros(0, 4)], [torch.tensor([1, 3]), torch.zeros(0)])
        >>> targets.mask.tolist()
        [[True, True], [False, False]]
        """
        _check_lists(len(boxes), boxes=boxes, labels=labels, ignore_boxes=ignore_boxes)
        for index, (image_boxes, image_labels) in enumerate(zip(boxes, labels, strict=True)):
            if image_labels.dim() != 1:
                raise ValueError(f"labels of image {index}: expected shape (G,), got {tuple(image_labels.shape)}")
            if image_boxes.shape != (len(image_labels), 4):
                raise ValueError(
                    f"boxes of image {index}: expected shape ({len(image_labels)}, 4) to go with its labels, "
                    f"got {tuple(image_boxes.shape)}"
                )
        padded, mask = _pad(boxes)
        indices = [_indices(f"labels of image {i}", own) if len(own) else own.long() for i, own in enumerate(labels)]
        padded_labels = pad_sequence(indices, batch_first=True)
        ignored = (None, None) if ignore_boxes is None else _pad(ignore_boxes)
        if sizes is not None:
            sizes = to_device(sizes, padded.device, padded.dtype)
        return cls(padded, padded_labels, mask, *ignored, sizes)

    def check_labels(self, num_classes: int) -> None:
        """Raise ValueError when a label is outside [0, num_classes); looks only where that costs no device sync."""
        if self.labels.device.type != "cpu":
            return
        wrong = self.labels[self.mask & ((self.labels < 0) | (self.labels >= num_classes))]
        if wrong.numel():
            raise ValueError(f"labels: expected 0 <= label < {num_classes} (the head's classes), got {int(wrong[0])}")

    def check_boxes(self) -> None:
        """Look at the boxes where that costs no device sync.

        Zero-sized boxes pass. Boxes in shares of the image, where `sizes` do not say that images are 1 wide and high, are
        warned of.

        Raises:
            ValueError: for a box or ignore box that is inside out or not finite.
        """
        if self.boxes.device.type != "cpu":
            return
        _check_corners("boxes", self.boxes, self.mask)
        if self.ignore_boxes is not None:
            _check_corners("ignore_boxes", self.ignore_boxes, self.ignore_mask)
        real = self.boxes[self.mask]
        in_pixels = self.sizes is None or (self.sizes > 1).any()
        if in_pixels and real.numel() and real.min() >= 0 and 0 < real.max() <= 1:
            sentence = "boxes: all of a batch lie between 0 and 1, as shares of the image do; pixels are expected"
            warnings.warn(sentence, AssignmentWarning, stacklevel=2)

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Targets:
        """The targets on another device; with `dtype`, boxes and sizes in that type."""
        moved = _map_tensors(self, lambda t: to_device(t, device))
        if dtype is None:
            return moved
        measures = {name: getattr(moved, name) for name in ("boxes", "ignore_boxes", "sizes")}
        return replace(moved, **{name: t.to(dtype) for name, t in measures.items() if t is not None})

    def part(self, start: int, stop: int) -> Targets:
        """The targets from one place to another of every image."""
        names = ("boxes", "labels", "mask")
        return replace(self, **{name: getattr(self, name)[:, start:stop] for name in names})

    def first_images(self, count: int) -> Targets:
        """The targets of so many images."""
        return _map_tensors(self, lambda t: t[:count])

    def repeat(self, groups: int) -> Targets:
        """The targets of `groups` stacked batches, (groups * B, ...), group after group (see `Predictions.groups`)."""
        if groups == 1:
            return self
        return _map_tensors(self, lambda t: t.expand(groups, *t.shape).flatten(0, 1))

    def again(self, times: int, room: int | None = None) -> Targets:
        """Every object so often, (B, times * M, ...), one copy of them all behind the other.

        With `room` an image's objects are there less often, all equally, where that would be more than so many: as often as
        they fit in, once at least.

        >>> targets = Targets(torch.zeros(2, 3, 4), torch.zeros(2, 3).long(), torch.tensor([[True] * 3, [True, False, False]]))
        >>> targets.again(4, room=7).mask.sum(1).tolist()
        [6, 4]
        """
        names = ("boxes", "labels", "mask")
        copies = replace(self, **{name: torch.cat([getattr(self, name)] * times, 1) for name in names})
        if room is None:
            return copies
        fitting = (room // self.mask.sum(1, keepdim=True).clamp(min=1)).clamp(min=1)
        copy = torch.arange(times, device=self.mask.device).repeat_interleave(self.mask.shape[1])
        return replace(copies, mask=copies.mask & (copy < fitting))

    def shares_of(self, boxes: Tensor, image: Tensor | None = None) -> Tensor:
        """Boxes xyxy in pixels as shares of the width and height of their images.

        Args:
            boxes: (B, K, 4), or (P, 4) with `image`.
            image: (P,) the image of each box.

        Raises:
            ValueError: when the targets do not know their images' sizes.
        """
        if self.sizes is None:
            raise ValueError("sizes: boxes relative to the image need the targets' image sizes, got None")
        sizes = self.sizes.repeat(1, 2)
        return boxes / (sizes[:, None] if image is None else sizes[image])


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
    negative: Tensor = _Dense()  # pyright: ignore[reportAssignmentType]
    box: Tensor
    normalizers: Tensor
    background: Tensor | None = None
    bag: Tensor | None = None
    further: Mapping[str, Tensor] = field(default_factory=dict)
    details: Mapping[str, Tensor] = field(default_factory=dict)
    of_classes: Matches | None = None

    if TYPE_CHECKING:  # what `_Dense` makes of it
        pushes: Pushes

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


def _check_shape(name: str, value: Tensor | None, shape: tuple[int, ...]) -> None:
    if value is not None and tuple(value.shape) != shape:
        raise ValueError(f"{name}: expected shape {shape}, got {tuple(value.shape)}")


def _check_geometry(name: str, value: Tensor | None, shape: tuple[int, ...], images: int) -> None:
    if value is not None and tuple(value.shape) not in (shape, (images, *shape)):
        raise ValueError(f"{name}: expected shape {shape} or {(images, *shape)}, got {tuple(value.shape)}")


def _check_lists(images: int, **lists: Sequence[Tensor] | None) -> None:
    """Raise ValueError unless each list that is there has a tensor for each of so many images, of which there is one."""
    if not images:
        raise ValueError("boxes: expected the tensors of at least one image, got an empty list")
    for name, tensors in lists.items():
        if tensors is None:
            continue
        if len(tensors) != images:
            raise ValueError(f"{name}: expected a tensor for each of the {images} images, got {len(tensors)}")
        for index, tensor in enumerate(tensors):
            if not isinstance(tensor, Tensor):
                raise ValueError(f"{name} of image {index}: expected a tensor, got {type(tensor).__name__}")


def _indices(name: str, labels: Tensor) -> Tensor:
    """Class indices as long."""
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise ValueError(f"{name}: expected class indices of an integer type, got {labels.dtype}")
    return labels.long()


def _check_corners(name: str, boxes: Tensor, mask: Tensor) -> None:
    sound = (boxes[..., 2:] >= boxes[..., :2]).all(-1) & boxes.isfinite().all(-1)
    if bool((sound | ~mask).all()):
        return
    image, place = (mask & ~sound).nonzero()[0].tolist()
    raise ValueError(
        f"{name}: expected finite x1, y1, x2, y2 with x1 <= x2 and y1 <= y2, got {boxes[image, place].tolist()} in image "
        f"{image} (boxes as xywh or cxcywh look like that)"
    )


def _check_bool(name: str, value: Tensor | None) -> None:
    if value is not None and value.dtype != torch.bool:
        raise ValueError(f"{name}: expected a bool tensor, got {value.dtype}")


def _pad(boxes: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    padded = pad_sequence(list(boxes), batch_first=True)
    counts = to_device(torch.tensor([len(b) for b in boxes]), padded.device)
    return padded, torch.arange(padded.shape[1], device=padded.device) < counts[:, None]


def _map_tensors(structure, change):
    """A copy of a dataclass with `change` applied to every tensor field."""
    tensors = {f.name: getattr(structure, f.name) for f in fields(structure)}
    return replace(structure, **{name: change(t) for name, t in tensors.items() if isinstance(t, Tensor)})
