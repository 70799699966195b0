"""From dense predictions to detections: filter, decode, suppress duplicates."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor
from torchvision.ops import batched_nms, box_iou, clip_boxes_to_image, nms

from ..assigners import Predictions

DENSE_NMS = 0.6  # FCOS
QUERY_NMS = 0.7  # DETA
LEAST_OVERLAP = 0.01  # of a box that has a vote (PAA)


@dataclass(frozen=True)
class Detections:
    """The detections of one image: boxes (K, 4) xyxy pixels, scores (K,) falling, labels (K,)."""

    boxes: Tensor
    scores: Tensor
    labels: Tensor


@dataclass(frozen=True)
class PostProcess:
    """Settings of inference.

    Attributes:
        score_threshold: class scores at or below it are dropped.
        per_level: at most so many (sample, class) pairs of each level go on.
        nms_iou: of two overlapping boxes the lower-scored one goes if their IoU is above; None switches NMS off; "auto"
            follows the assigner (see `following`) and is 0.6 where nobody says.
        class_agnostic: suppress across classes too (for softmax scores and for duplicate boxes of different class).
        max_per_image: at most so many detections.
        one_per_sample: only the best class of every sample goes on (DETR).
        clip: boxes end at the border of their image (query detectors leave them as they are).
        min_size: boxes whose clipped width or height is not above it are dropped; None keeps even empty boxes.
        score_voting: every box that is left becomes the mean of the boxes of its class before NMS that it overlaps, weighted
            by score and exp(-(1 - IoU)^2 / score_voting) (PAA, arXiv 2007.08103, has 0.025); None leaves boxes alone.
    """

    score_threshold: float = 0.05
    per_level: int = 1000
    nms_iou: float | Literal["auto"] | None = "auto"
    class_agnostic: bool = False
    max_per_image: int = 100
    one_per_sample: bool = False
    clip: bool = True
    min_size: float | None = 0.0
    score_voting: float | None = None

    def __post_init__(self) -> None:
        for name in ("score_threshold", "nms_iou", "min_size", "score_voting"):
            value = getattr(self, name)
            others = {"nms_iou": (None, "auto"), "min_size": (None,), "score_voting": (None,)}.get(name, ())
            if not isinstance(value, float | int) and value not in others:
                raise ValueError(f"post_process: {name} is {value!r}; expected a number")
        if self.score_voting is not None and not self.score_voting > 0:
            raise ValueError(f"post_process: score_voting is {self.score_voting!r}; expected a number above 0, or None")
        for name in ("per_level", "max_per_image"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"post_process: {name} is {value!r}; expected a whole number of at least 1")

    def following(self, cardinality: str, overlap: float) -> PostProcess:
        """The same with an `nms_iou` that was left open settled.

        Args:
            cardinality: of the assigner. Where several samples answer for an object, NMS is needed; where one does, or one
                of a few, it would only lose objects.
            overlap: what NMS allows.
        """
        if self.nms_iou != "auto":
            return self
        return replace(self, nms_iou=overlap if cardinality == "one-to-many" else None)

    def candidates(self, scores: Tensor, factor: Tensor | None, predictions: Predictions, image: int) -> Detections:
        """The (sample, class) pairs of one image that pass threshold and per-level limit; level order, scores falling.

        Filtering looks at the class score; `factor` (centerness) multiplies what passes, as in FCOS.
        """
        kept = [
            self._level_candidates(part) + torch.tensor([[start], [0]], device=part.device)
            for part, start in _by_level(scores[image], predictions.level_sizes or (scores.shape[1],))
        ]
        sample, label = torch.cat(kept, 1)
        score = scores[image, sample, label]
        if factor is not None:
            score = score * factor[image, sample]
        return Detections(predictions.boxes[image, sample], score, label)

    def _level_candidates(self, scores: Tensor) -> Tensor:
        """(2, K) sample and class indices of the best scores (n, C) above the threshold."""
        passing = scores > self.score_threshold
        if self.one_per_sample:
            passing &= torch.zeros_like(passing).scatter_(1, scores.argmax(1, keepdim=True), True)
        index = passing.flatten().nonzero()[:, 0]
        order = scores.flatten()[index].sort(descending=True, stable=True).indices[: self.per_level]
        index = index[order]
        return torch.stack([index // scores.shape[1], index % scores.shape[1]])

    def suppress(self, candidates: Detections) -> Detections:
        """Non-maximum suppression and the limit per image."""
        boxes, scores, labels = candidates.boxes, candidates.scores, candidates.labels
        overlap = DENSE_NMS if self.nms_iou == "auto" else self.nms_iou
        if overlap is None:
            keep = scores.argsort(descending=True, stable=True)
        elif self.class_agnostic:
            keep = nms(boxes, scores, overlap)
        else:
            keep = batched_nms(boxes, scores, labels, overlap)
        keep = keep[: self.max_per_image]
        left = Detections(boxes[keep], scores[keep], labels[keep])
        return left if self.score_voting is None else _voted(left, candidates, self.score_voting)

    def __call__(
        self, scores: Tensor, factor: Tensor | None, predictions: Predictions, image: int, size: tuple[int, int]
    ) -> Detections:
        """Detections of one image of `size` (height, width) pixels, clipped to it if asked."""
        found = self.candidates(scores, factor, predictions, image)
        boxes = clip_boxes_to_image(found.boxes, size) if self.clip else found.boxes
        if self.min_size is None:
            return self.suppress(Detections(boxes, found.scores, found.labels))
        keep = ((boxes[:, 2:] - boxes[:, :2]) > self.min_size).all(-1)
        return self.suppress(Detections(boxes[keep], found.scores[keep], found.labels[keep]))


def _voted(left: Detections, candidates: Detections, width: float) -> Detections:
    """The detections that NMS left, each with the box that the candidates of its class vote for."""
    overlap = box_iou(left.boxes, candidates.boxes)  # (K, candidates)
    votes = candidates.scores * torch.exp(-((1 - overlap) ** 2) / width)
    votes = votes * (overlap > LEAST_OVERLAP) * (left.labels[:, None] == candidates.labels)
    total = votes.sum(1, keepdim=True)
    boxes = torch.where(total > 0, votes @ candidates.boxes / total, left.boxes)  # an empty box has no votes
    return replace(left, boxes=boxes)


def _by_level(values: Tensor, sizes: tuple[int, ...]) -> list[tuple[Tensor, int]]:
    parts, start = [], 0
    for part in values.split(sizes):
        parts.append((part, start))
        start += len(part)
    return parts
