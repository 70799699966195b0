"""Why an object has the samples that it has: its candidates, and at which step each of them fell out.

Steps are told apart without knowing the matching: it is asked again with the object alone on the image. What it would have
had then and has not is lost to the others; what it would not have had either, the matching itself rules out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...assigners import Assigner, Matches, Predictions, Targets
from ...assigners.boxes import iou, strictly_inside
from .samples import check_one_image, check_provided, features_of, stacked

BEST = 8  # candidates by IoU, by P and by cost that are looked at beside those that the object has
NEAR = 0.1  # IoU from which a sample whose point lies outside the object is a candidate all the same
LEARNS, UNWEIGHTED, LOST, IGNORED, OUTSIDE, NOT_CHOSEN = (
    "learns",
    "matched without weight",
    "lost",
    "ignored",
    "outside",
    "not chosen",
)


@dataclass(frozen=True)
class Candidate:
    """A sample that has the object, or might have been thought to.

    Attributes:
        sample: which.
        stride: pixels per cell of its level, None where there are none.
        outcome: LEARNS; UNWEIGHTED, matched but with neither w⁺ nor w°; LOST, the object would have had it alone on the image;
            IGNORED, nobody learns it and it is not pushed down either (crowd regions, between two thresholds, padding);
            OUTSIDE, its point lies outside the object and it would not have been taken either way; NOT_CHOSEN, the matching
            prefers others.
        taken_by: objects that have the sample now.
        positive, negative, box: w⁺, w⁻ on the object's class and w°; w⁺ and w° are 0 without a match.
        score, iou, cost: P of the object's class, IoU of its box with the object's, cost of the match or None.
        ranks: of P, IoU and cost among all samples of the image, 1 the best; the cost's is None without.
    """

    sample: int
    stride: float | None
    outcome: str
    taken_by: tuple[int, ...]
    positive: float
    negative: float
    box: float
    score: float
    iou: float
    cost: float | None
    ranks: tuple[int, int, int | None]


@dataclass(frozen=True)
class Reasons:
    """One object under one assigner.

    Attributes:
        name: of the assigner.
        object: its number.
        samples: of the image.
        candidates: those that learn first, then by IoU.
        learning: how many samples learn it.
        alone: how many samples it would have alone on the image.
        kept: how many of these it has.
    """

    name: str
    object: int
    samples: int
    candidates: tuple[Candidate, ...]
    learning: int
    alone: int
    kept: int

    def having(self, outcome: str) -> list[Candidate]:
        """Candidates of one outcome."""
        return [each for each in self.candidates if each.outcome == outcome]

    def plain(self) -> dict[str, Any]:
        """All there is in plain values."""
        return {
            "object": self.object,
            "samples": self.samples,
            "learning": self.learning,
            "alone": self.alone,
            "kept": self.kept,
            "candidates": [
                {**vars(each), "taken_by": list(each.taken_by), "ranks": list(each.ranks)} for each in self.candidates
            ],
        }


@torch.no_grad()
def reasons(name: str, assigner: Assigner, predictions: Predictions, targets: Targets, index: int) -> Reasons:
    """Why an object has its samples.

    Args:
        name: to call the assigner by.
        assigner: any.
        predictions: as of `samples.samples_of`.
        targets: of that image, unpadded.
        index: of the object.

    Raises:
        ValueError: when there is more than one image, no such object, or the predictions lack what the assigner needs.
    """
    check_one_image(targets)
    check_provided(name, assigner, predictions)
    objects = targets.boxes.shape[1]
    if not 0 <= index < objects:
        raise ValueError(f"object {index}: expected one of {objects} objects, counted from 0")
    group = predictions.final_group
    assignment = assigner(predictions, stacked(targets, predictions))
    of_group = assignment.matches.image == group
    pairs = assignment.matches.select(of_group)
    weights = assignment.positive[of_group], assignment.box[of_group]
    lone = assigner.match(predictions, stacked(only(targets, index), predictions))
    alone = lone.sample[lone.image == group]
    every = features_of(assigner, predictions, targets)
    overlap = iou(predictions.boxes[group], targets.boxes[0, index])
    numbers = every.score[:, index], overlap, None if every.total is None else every.total[:, index]
    inside = _inside(predictions, targets, index)
    chosen = _looked_at(pairs.sample[pairs.target == index], alone, inside | (overlap >= NEAR), *numbers)
    ranks = [_ranks(values, falling) for values, falling in zip(numbers, (True, True, False), strict=True)]
    outcomes = _outcomes(chosen, (pairs, *weights), alone, inside, predictions, index)
    negative = assignment.pushes.dense[group, :, int(targets.labels[0, index])]
    found = [
        _candidate(sample, outcome, (pairs, *weights), index, negative[sample], numbers, ranks)
        for sample, outcome in zip(chosen, outcomes, strict=True)
    ]
    if predictions.strides is not None:
        strides = predictions.all_strides[min(group, len(predictions.all_strides) - 1)]
        found = [replace(each, stride=float(strides[each.sample])) for each in found]
    order = sorted(found, key=lambda each: (each.outcome != LEARNS, -each.positive, -each.iou))
    own = pairs.target == index
    has = set(pairs.sample[own].tolist())
    learning = int((own & ((weights[0] > 0) | (weights[1] > 0))).sum())
    wanted = set(alone.tolist())
    return Reasons(name, index, len(overlap), tuple(order), learning, len(wanted), len(has & wanted))


def only(targets: Targets, index: int) -> Targets:
    """The image with one object alone, in its place."""
    mask = torch.zeros_like(targets.mask)
    mask[:, index] = targets.mask[:, index]
    return replace(targets, mask=mask)


def _inside(predictions: Predictions, targets: Targets, index: int) -> Tensor:
    """(N,) bool, whether the samples' points lie in the object; all do where they have none."""
    if predictions.points is None:
        return torch.ones(predictions.logits.shape[1], dtype=torch.bool)
    points = predictions.all_points[min(predictions.final_group, len(predictions.all_points) - 1)]
    return strictly_inside(points, targets.boxes[0, index])


def _looked_at(
    own: Tensor, alone: Tensor, near: Tensor, score: Tensor, overlap: Tensor, cost: Tensor | None
) -> list[int]:
    """Samples that the object has, would have alone, or that are the best of those near by one of the numbers; each once."""
    near = near.nonzero()[:, 0]
    best = min(BEST, len(near))
    lists = [
        own[: BEST * 4],
        alone[: BEST * 4],
        near[overlap[near].topk(best).indices],
        near[score[near].topk(best).indices],
    ]
    if cost is not None:
        lists.append(near[cost[near].topk(best, largest=False).indices])
    return list(dict.fromkeys(torch.cat(lists).tolist()))


def _ranks(values: Tensor | None, falling: bool) -> np.ndarray | None:
    """(N,) places from 1 on."""
    if values is None:
        return None
    order = values.argsort(descending=falling, stable=True)
    ranks = torch.empty_like(order)
    ranks[order] = torch.arange(1, len(order) + 1)
    return ranks.numpy()


def _outcomes(
    chosen: Iterable[int],
    weighed: tuple[Matches, Tensor, Tensor],
    alone: Tensor,
    inside: Tensor,
    predictions: Predictions,
    index: int,
) -> list[str]:
    pairs, positive, box = weighed
    mine = pairs.target == index
    learns = set(pairs.sample[mine & ((positive > 0) | (box > 0))].tolist())
    matched, wanted = set(pairs.sample[mine].tolist()), set(alone.tolist())
    group = predictions.final_group
    ignored = torch.zeros(predictions.logits.shape[1], dtype=torch.bool)
    if pairs.ignored is not None:
        ignored |= pairs.ignored[group]
    if predictions.valid is not None:
        ignored |= ~predictions.valid[group]
    ladder = (
        (lambda sample: sample in learns, LEARNS),
        (lambda sample: sample in matched, UNWEIGHTED),
        (lambda sample: sample in wanted, LOST),
        (lambda sample: bool(ignored[sample]), IGNORED),
        (lambda sample: not bool(inside[sample]), OUTSIDE),
    )
    return [next((outcome for holds, outcome in ladder if holds(sample)), NOT_CHOSEN) for sample in chosen]


def _candidate(
    sample: int,
    outcome: str,
    weighed: tuple[Matches, Tensor, Tensor],
    index: int,
    negative: Tensor,
    numbers: tuple[Tensor, Tensor, Tensor | None],
    ranks: list[np.ndarray | None],
) -> Candidate:
    pairs, positive, box = weighed
    here = pairs.sample == sample
    own = here & (pairs.target == index)
    others = here & (pairs.target != index) & ((positive > 0) | (box > 0))
    score, overlap, cost = (None if values is None else float(values[sample]) for values in numbers)
    return Candidate(
        sample,
        None,
        outcome,
        tuple(sorted(set(pairs.target[others].tolist()))),
        float(positive[own].sum()),
        float(negative),
        float(box[own].sum()),
        score,
        overlap,
        cost,
        tuple(None if places is None else int(places[sample]) for places in ranks),
    )
