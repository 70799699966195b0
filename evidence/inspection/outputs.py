"""Which query of which output learns which object: the decoder's, denoising's, and those of everything that training adds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...assigners import Assignment, Targets
from ...assigners.boxes import iou
from ...heads.query import QueryHead, QueryOutputs, pixel_boxes

DECODER, DENOISING = "decoder", "dn"  # names of outputs; all others are those of what training adds


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
    """

    name: str
    queries: int
    query: np.ndarray
    learnt: np.ndarray
    weight: np.ndarray
    iou: np.ndarray
    boxes: np.ndarray

    def totals(self) -> dict[str, Any]:
        """Figures of the whole image."""
        return {"queries": self.queries, "pairs": len(self.query), "objects": len(np.unique(self.learnt))}

    def target(self, index: int) -> list[dict[str, Any]]:
        """The queries of one object in plain values."""
        chosen = np.flatnonzero(self.learnt == index)
        columns = self.query[chosen].tolist(), self.weight[chosen].tolist(), self.iou[chosen].tolist()
        return [dict(zip(("query", "weight", "iou"), row, strict=True)) for row in zip(*columns, strict=True)]


@torch.no_grad()
def inspect_outputs(head: QueryHead, outputs: QueryOutputs, targets: Targets) -> list[OutputInspection]:
    """What every output learns from one image, from predictions of that image."""
    assignments, _ = head.assign_all_and_loss(outputs, targets)
    denoising, decoder = outputs.split()
    parts = {DECODER: (decoder, 1), DENOISING: (denoising, 1)}
    parts |= {name: (extra.outputs, extra.groups) for name, extra in outputs.extra.items()}
    return [_inspection(name, assignment, *parts[name], targets) for name, assignment in assignments.items()]


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
