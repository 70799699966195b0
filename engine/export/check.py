"""How far an exported file's detections are from the source's.

Both lists fall by score, and equal scores come in any order: the k-th of one need not be the k-th of the other, nor need the
last one that just passed a limit. So detections of one class whose scores are equal but for rounding are paired by their
boxes, those nearest each other; what finds no partner is counted, unless it stands at the limit itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from mmdet.structures import DetDataSample

from ...heads import Detections
from ...ops import linear_assignment
from ..build import Detector
from .formats import Run
from .metadata import Metadata
from .pictures import Placed, canvas

EQUAL = 1e-3  # scores that differ by less are of one rank
APART = 1e9  # cost of a pair that is none
MOST = 300  # samples of a picture that are compared where nothing is filtered


@dataclass(frozen=True)
class Agreement:
    """How far two lists of detections are from each other.

    Attributes:
        pictures: that were compared, each in every size of batch.
        batches: those sizes.
        detections: of the source.
        boxes: largest difference of a side, pixels of the network's picture.
        scores: largest difference of a score.
        alone: detections of either without a partner.
    """

    pictures: int
    batches: tuple[int, ...]
    detections: int
    boxes: float
    scores: float
    alone: int


def agreement(
    wanted: Sequence[Detections],
    found: Sequence[Detections],
    pictures: int,
    batches: tuple[int, ...],
    score: float,
    most: int,
) -> Agreement:
    """Compare the detections of so many pictures in these batches; of each, at most `most` were kept above `score`."""
    pairs = [compare(*each, score, most) for each in zip(wanted, found, strict=True)]
    boxes, scores, alone = zip(*pairs, strict=True)
    count = sum(len(each.scores) for each in wanted)
    return Agreement(pictures, batches, count, max(boxes), max(scores), sum(alone))


def compare(wanted: Detections, found: Detections, score: float, most: int) -> tuple[float, float, int]:
    """Largest differences of boxes and scores, and how many detections are without a partner, of one picture."""
    ours, theirs = len(wanted.scores), len(found.scores)
    apart = (wanted.boxes[:, None] - found.boxes).abs().amax(-1)
    lower = (wanted.scores[:, None] - found.scores).abs()
    possible = (wanted.labels[:, None] == found.labels) & (lower <= EQUAL) & apart.isfinite()
    cost = torch.where(possible, apart.double(), APART)
    _, row, column = linear_assignment(cost[None]).pairs() if ours and theirs else torch.zeros(3, 0, dtype=torch.long)
    good = possible[row, column]
    row, column = row[good], column[good]
    alone = sum(
        int((_without(each.scores, paired) > _limit(each.scores, score, most)).sum())
        for each, paired in ((wanted, row), (found, column))
    )
    if not len(row):
        return 0.0, 0.0, alone
    return float(apart[row, column].max()), float(lower[row, column].max()), alone


def _without(scores: torch.Tensor, paired: torch.Tensor) -> torch.Tensor:
    kept = torch.ones_like(scores, dtype=torch.bool)
    kept[paired] = False
    return scores[kept]


def _limit(scores: torch.Tensor, score: float, most: int) -> float:
    """Up to which score a detection may be in one list alone: it stands at the threshold, or is the last that was kept."""
    return (max(score, float(scores.min())) if len(scores) == most else score) + EQUAL


@torch.no_grad()
def of_source(model: Detector, batches: Iterable[tuple[np.ndarray, np.ndarray]], raw: bool) -> list[Detections]:
    """What the model itself says of batches (images, sizes), by its own post-processing or best of what it says."""
    found = []
    for images, sizes in batches:
        tensor = torch.from_numpy(images)
        samples = [DetDataSample(metainfo={"img_shape": (int(h), int(w))}) for w, h in sizes]
        if raw:
            predictions = model.predictions_within(tensor, torch.from_numpy(sizes))
            scores, factor = model.bbox_head.scores(predictions)
            found += best(predictions.boxes, scores if factor is None else scores * factor[..., None])
        else:
            kept = (sample.pred_instances for sample in model.predict(tensor, samples, rescale=False))
            found += [Detections(each.bboxes, each.scores, each.labels) for each in kept]
    return found


def of_file(run: Run, about: Metadata, batches: Iterable[tuple[np.ndarray, np.ndarray]]) -> list[Detections]:
    """What the file says of batches."""
    return [each for images, sizes in batches for each in detections(run(images, sizes), about)]


def detections(outputs: Sequence[np.ndarray], about: Metadata) -> list[Detections]:
    """A file's outputs as detections of each picture, in pixels of the network's picture.

    Raises:
        ValueError: for labels that are none of its classes.
    """
    boxes, scores, *others = map(torch.from_numpy, outputs)
    if about.most is None:
        return best(boxes, scores)
    labels, counts = others
    found = [
        Detections(boxes[image, :count], scores[image, :count], labels[image, :count])
        for image, count in enumerate(counts.tolist())
    ]
    if any(((each.labels < 0) | (each.labels >= len(about.classes))).any() for each in found):
        raise ValueError("the exported file gives labels that are none of its classes; export it again")
    return found


def best(boxes: torch.Tensor, scores: torch.Tensor) -> list[Detections]:
    """The best samples of each picture, boxes (B, N, 4) and scores (B, N, C), each with its best class."""
    found, labels = scores.max(2)
    kept, place = found.topk(min(MOST, found.shape[1]), 1)
    chosen = boxes.gather(1, place[..., None].expand(-1, -1, 4))
    return [Detections(*each) for each in zip(chosen, kept, labels.gather(1, place), strict=True)]


def in_batches(placed: Sequence[Placed], size: int, about: Metadata) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pictures in batches of a size; the last is filled with pictures from the first on."""
    for start in range(0, len(placed), size):
        yield canvas([placed[index % len(placed)] for index in range(start, start + size)], about)
