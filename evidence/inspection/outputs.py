"""Which query of which output learns which object: the decoder's, denoising's, and those of everything that training adds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...assigners import Assignment, Targets
from ...assigners.boxes import iou
from ...assigners.denoising import DenoisingQueries
from ...heads.query import QueryHead, QueryOutputs, pixel_boxes
from .samples import Samples

DECODER, DENOISING = "decoder", "dn"  # names of outputs; all others are those of what training adds


@dataclass(frozen=True)
class Noise:
    """The queries that a denoising made of an image's objects: K of them, group after group, padding left out.

    Attributes:
        query: (K,) among the denoising queries.
        group: (K,) the group, whose queries see each other alone.
        made_from: (K,) the object that a query was made from.
        positive: (K,) bool, whether it is to find that object; a negative is to find nothing.
        labels: (K,) the class that it is given, which may be another one; C is "unknown".
        start: (K, 4) xyxy, pixels; the noised box.
        start_iou: (K,) of that with the object's.
        predicted: (K, 4) xyxy, pixels; in the last layer.
        iou: (K,) of that with the object's.
    """

    query: np.ndarray
    group: np.ndarray
    made_from: np.ndarray
    positive: np.ndarray
    labels: np.ndarray
    start: np.ndarray
    start_iou: np.ndarray
    predicted: np.ndarray
    iou: np.ndarray

    def of(self, index: int) -> np.ndarray:
        """Which queries were made from an object."""
        return np.flatnonzero(self.made_from == index)

    def target(self, index: int, most: int | None = None) -> list[dict[str, Any]]:
        """The queries made from an object in plain values, group by group, at most so many."""
        return [
            {
                "sample": int(self.query[place]),
                "group": int(self.group[place]),
                "positive": bool(self.positive[place]),
                "label": int(self.labels[place]),
                "start": self.start[place].tolist(),
                "start_iou": float(self.start_iou[place]),
                "predicted": self.predicted[place].tolist(),
                "iou": float(self.iou[place]),
            }
            for place in self.of(index)[:most]
        ]


@dataclass(frozen=True)
class OutputInspection:
    """What one output learns from an image in its last layer: P pairs of a query and an object.

    Attributes:
        name: of the output.
        queries: of all groups together.
        query, learnt: (P,) the pairs, query and object, by object, the heaviest first; queries are counted through all groups.
        weight: (P,) w⁺ as a share of the object's heaviest.
        iou: (P,) of the query's predicted box with the object's.
        boxes: (P, 4) xyxy, pixels; predicted.
        noise: of denoising; None of other outputs.
    """

    name: str
    queries: int
    query: np.ndarray
    learnt: np.ndarray
    weight: np.ndarray
    iou: np.ndarray
    boxes: np.ndarray
    noise: Noise | None = None

    def totals(self) -> dict[str, Any]:
        """Figures of the whole image."""
        return {"queries": self.queries, "pairs": len(self.query), "objects": len(np.unique(self.learnt))}

    def of(self, index: int) -> np.ndarray:
        """Which pairs are an object's."""
        return np.flatnonzero(self.learnt == index)

    def target(self, index: int) -> list[dict[str, Any]]:
        """The queries of one object in plain values."""
        return [
            {
                "query": int(self.query[pair]),
                "weight": float(self.weight[pair]),
                "iou": float(self.iou[pair]),
                "predicted": self.boxes[pair].tolist(),
            }
            for pair in self.of(index)
        ]


def learnt_by(samples: Samples) -> OutputInspection:
    """What an assigner teaches the queries of the last layer, as an output of that assigner's name."""
    pulled = samples.positive > 0
    learnt, weight = samples.learnt[pulled], samples.positive[pulled]
    shares = _shares(torch.from_numpy(weight), torch.from_numpy(learnt), samples.objects).numpy()
    return OutputInspection(
        samples.name,
        samples.count,
        samples.sample[pulled],
        learnt,
        shares,
        samples.iou[pulled],
        samples.predicted[pulled],
    )


@torch.no_grad()
def inspect_outputs(head: QueryHead, outputs: QueryOutputs, targets: Targets) -> list[OutputInspection]:
    """What every output learns from one image, from predictions of that image."""
    assignments, _ = head.assign_all_and_loss(outputs, targets)
    denoising, decoder = outputs.split()
    parts = {DECODER: (decoder, 1), DENOISING: (denoising, 1)}
    parts |= {name: (extra.outputs, extra.groups) for name, extra in outputs.extra.items()}
    found = [_inspection(name, assignment, *parts[name], targets) for name, assignment in assignments.items()]
    noise = None if outputs.denoising is None else noise_of(outputs.denoising, denoising, targets)
    return [replace(each, noise=noise) if each.name == DENOISING else each for each in found]


def noise_of(made: DenoisingQueries, outputs: QueryOutputs, targets: Targets) -> Noise:
    """The denoising queries of one image beside what becomes of them in the last layer.

    A negative was made from the object of the positive half a group before it.
    """
    half = made.block // 2
    place = torch.arange(made.boxes.shape[1])
    target = torch.where(made.positive[0], made.target[0], made.target[0][(place - half).clamp(min=0)])
    query = made.known[0].nonzero()[:, 0].cpu()
    start, predicted = (pixel_boxes(boxes, targets.sizes)[0, query] for boxes in (made.boxes, outputs.boxes[-1]))
    target = target[query]
    wanted = targets.boxes[0, target].to(start)
    group = query // max(made.block, 1)
    columns = query, group, target, made.positive[0, query], made.labels[0, query]
    boxes = start, iou(start, wanted), predicted, iou(predicted, wanted)
    return Noise(*(values.numpy() for values in (*columns, *boxes)))


def _inspection(
    name: str, assignment: Assignment, outputs: QueryOutputs, groups: int, targets: Targets
) -> OutputInspection:
    layers, queries, objects = len(outputs.logits), outputs.logits.shape[2], targets.boxes.shape[1]
    matches, weight = assignment.matches, assignment.positive
    layer, group = matches.image // groups, matches.image % groups  # of one image; the encoder's may be one layer more
    learns = (layer == layers - 1) & (weight > 0)
    query = (matches.sample + group * (queries // groups))[learns]
    target, weight = (matches.target % max(objects, 1))[learns], weight[learns]
    order = (target.double() - weight.double() / weight.max().clamp(min=1e-12) / 2 if len(weight) else target).argsort()
    query, target, weight = query[order], target[order], weight[order]
    boxes = pixel_boxes(outputs.boxes[-1], targets.sizes)[0, query]
    overlap = iou(boxes, targets.boxes[0, target].to(boxes))
    return OutputInspection(
        name, queries, *(values.numpy() for values in (query, target, _shares(weight, target, objects), overlap, boxes))
    )


def _shares(weight: Tensor, target: Tensor, objects: int) -> Tensor:
    """Weights (P,) as shares of the largest of their object."""
    most = weight.new_zeros(objects).scatter_reduce(0, target, weight, "amax")
    return weight / most[target].clamp(min=torch.finfo(weight.dtype).tiny)
