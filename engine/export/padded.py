"""`PostProcess` on a whole batch with outputs of a fixed size, as a file that is exported needs it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torchvision.ops import box_iou

from ...heads import PostProcess
from ...heads.postprocess import DENSE_NMS, LEAST_OVERLAP
from ...ops.suppression import survivors

NOTHING = -1.0  # score of what is none; scores are probabilities


class PaddedPostProcess(nn.Module):
    """Filter, best of every level, NMS where the model has one, and the best of what is left.

    Args:
        settings: the model's.
        score: detections at or below it are left out, after a second branch has lowered them; None keeps them.
    """

    def __init__(self, settings: PostProcess, score: float | None = None) -> None:
        super().__init__()
        self.settings, self.score = settings, score

    def forward(
        self, scores: Tensor, factor: Tensor | None, boxes: Tensor, level_sizes: tuple[int, ...] | None, sizes: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Detections of a batch, scores falling; K is the most that an image may have.

        Args:
            scores: (B, N, C) of classes.
            factor: (B, N) that multiplies what passes the filter, or None.
            boxes: (B, N, 4) xyxy, pixels.
            level_sizes: samples of each level, which add up to N; None is one level.
            sizes: (B, 2) width and height of each image, pixels.

        Returns:
            Boxes (B, K, 4) float32, scores (B, K) float32, labels (B, K) long, and how many each image has (B,) long; behind
            those boxes and scores are 0 and labels -1.
        """
        classes = scores.shape[2]
        found, place = self._candidates(scores, level_sizes)
        sample, label = place // classes, place % classes
        valid = found > NOTHING
        if factor is not None:
            found = found * factor.gather(1, sample)
        if self.score is not None:
            valid = valid & (found > self.score)
        boxes = rows_of(boxes, sample)
        if self.settings.clip:
            boxes = torch.minimum(boxes.clamp(min=0), sizes.to(boxes.dtype).repeat(1, 2)[:, None])
        if self.settings.min_size is not None:
            valid = valid & ((boxes[..., 2:] - boxes[..., :2]) > self.settings.min_size).all(-1)
        found = torch.where(valid, found, NOTHING)
        left = self._suppressed(boxes, found, label, valid, classes)
        return self._best(boxes, found, left, label)

    def _candidates(self, scores: Tensor, level_sizes: tuple[int, ...] | None) -> tuple[Tensor, Tensor]:
        """Scores (B, M) of the best (sample, class) pairs of each level, and their places among N * C."""
        classes, most = scores.shape[2], self.settings.per_level
        passing = scores > self.settings.score_threshold
        if self.settings.one_per_sample:
            best = scores.argmax(2, keepdim=True)
            passing = passing & (torch.arange(classes, device=scores.device) == best)
        ranked = torch.where(passing, scores, NOTHING)
        levels, start, parts = level_sizes or (scores.shape[1],), 0, []
        for level, size in zip(ranked.split(list(levels), 1), levels, strict=True):
            flat = level.flatten(1)
            known = type(flat.shape[1]) is int  # and no size that is open in the export
            found, place = best_of(flat, min(most, flat.shape[1]) if known else most)
            parts.append((found, place + start * classes))
            start = start + size
        found, place = zip(*parts, strict=True)
        return torch.cat(found, 1), torch.cat(place, 1)

    def _suppressed(self, boxes: Tensor, scores: Tensor, label: Tensor, valid: Tensor, classes: int) -> Tensor:
        """(B, M) bool, what NMS leaves of the valid candidates."""
        overlap = DENSE_NMS if self.settings.nms_iou == "auto" else self.settings.nms_iou
        if overlap is None:
            return valid
        alone = torch.where(valid[..., None], boxes, 0.0)  # empty boxes overlap nothing
        scores = torch.where(valid, scores, -torch.inf)
        if self.settings.class_agnostic:
            return valid & survivors(alone, scores, overlap)
        return valid & survivors(alone, scores, overlap, label, classes)

    def _best(
        self, boxes: Tensor, scores: Tensor, left: Tensor, label: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        found, place = best_of(torch.where(left, scores, NOTHING), self.settings.max_per_image)
        valid, labels = found > NOTHING, label.gather(1, place)
        chosen = rows_of(boxes, place)
        if self.settings.score_voting is not None:
            chosen = self._voted(chosen, labels, boxes, scores, label)
        return (
            torch.where(valid[..., None], chosen, 0.0).float(),
            torch.where(valid, found, 0.0).float(),
            torch.where(valid, labels, -1),
            valid.sum(1),
        )

    def _voted(self, chosen: Tensor, labels: Tensor, boxes: Tensor, scores: Tensor, label: Tensor) -> Tensor:
        """`PostProcess`'s voting of candidates (B, M) for the boxes (B, K, 4) that are left."""
        overlap = box_iou(chosen, boxes)
        votes = scores.clamp(min=0)[:, None] * torch.exp(-((1 - overlap) ** 2) / self.settings.score_voting)
        votes = votes * (overlap > LEAST_OVERLAP) * (labels[..., None] == label[:, None])
        total = votes.sum(2, keepdim=True)
        return torch.where(total > 0, votes @ boxes / total, chosen)


def best_of(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` highest of values (B, M), falling, and their places; NOTHING follows where M is less.

    >>> best_of(torch.tensor([[0.1, 0.3]]), 3)[1].tolist()
    [[1, 0, 1]]
    """
    size = values.shape[1]
    missing = max(count - size, 0) if type(size) is int else count
    found, place = pad(values, (0, missing), value=NOTHING).topk(count, 1)
    return found, place.clamp(max=size - 1)


def rows_of(values: Tensor, places: Tensor) -> Tensor:
    """Rows (B, K, 4) at places (B, K) of values (B, N, 4)."""
    return values.gather(1, places[..., None].expand(-1, -1, values.shape[-1]))
