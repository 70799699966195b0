"""Which query answers for which object, decoder layer by decoder layer: matches, their costs, and how queries move."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...assigners import BACKGROUND, Assigner, Hungarian, Predictions, Targets
from ...assigners.boxes import iou
from ...assigners.costs import at_labels
from ...heads.query import QueryOutputs, stacked_predictions
from .samples import Samples, check_one_image, samples_of
from .subjects import translate


@dataclass(frozen=True)
class QueryInspection:
    """One image's matches under one assigner: L decoder layers, Q queries, M targets.

    A target without a query, of which there are some where M > Q, has BACKGROUND for a query and NaN for numbers.

    Attributes:
        name: of the assigner.
        queries: Q.
        query: (L, M) the query matched with each target.
        score: (L, M) its P for the target's class.
        iou: (L, M) of its box with the target's.
        costs: (L, M) of each term of the matching's cost, by its name, times its weight.
        runner_up: (L, M) the query that would be the cheapest but for the matched one; BACKGROUND where there is none.
        margin: (L, M) how much more that one costs; negative where a cheaper query went to another target.
        boxes: (L, M, 4) xyxy, pixels; of the queries matched in the last layer.
        references: L arrays (M, 2 or 4) x, y or centre, width, height, pixels, which those boxes started from; refinement
            makes boxes of points on the way. None in a detector without.
        others: (U, 4) xyxy, pixels; last boxes of the queries without a target.
        other_scores: (U,) their best P.
        samples: the last layer's pairs one by one.
    """

    name: str
    queries: int
    query: np.ndarray
    score: np.ndarray
    iou: np.ndarray
    costs: dict[str, np.ndarray]
    runner_up: np.ndarray
    margin: np.ndarray
    boxes: np.ndarray
    references: tuple[np.ndarray, ...] | None
    others: np.ndarray
    other_scores: np.ndarray
    samples: Samples

    @property
    def layers(self) -> int:
        """L."""
        return len(self.query)

    @property
    def total(self) -> np.ndarray:
        """(L, M) the cost of each match, all terms together."""
        return sum(self.costs.values())

    @property
    def changed(self) -> np.ndarray:
        """(L, M) whether a target's query is another one than in the layer before; the first layer has none."""
        return np.concatenate([np.zeros_like(self.query[:1], bool), self.query[1:] != self.query[:-1]])

    def agreement(self, other: QueryInspection) -> np.ndarray:
        """(L,) how many targets another assigner gives the same query in each layer."""
        return (self.query == other.query).sum(1)

    def layer_means(self) -> list[dict[str, Any]]:
        """Figures of every layer over the targets that have a query in it; None where none has."""
        return [
            {
                "changed": int(changed.sum()),
                **{key: _mean(values) for key, values in zip(("score", "iou", "cost", "margin"), numbers, strict=True)},
                "costs": {term: _mean(values[layer]) for term, values in self.costs.items()},
            }
            for layer, (changed, *numbers) in enumerate(
                zip(self.changed, self.score, self.iou, self.total, self.margin, strict=True)
            )
        ]

    def totals(self) -> dict[str, Any]:
        """Figures of the whole image."""
        return {
            "targets": self.query.shape[1],
            "queries": self.queries,
            "without_query": int((self.query[-1] == BACKGROUND).sum()),
            "never_changed": int((~self.changed.any(0)).sum()),
            "changes": int(self.changed.sum()),
            "layers": self.layer_means(),
        }

    def target(self, index: int) -> dict[str, Any]:
        """All there is about one target, in plain values: a dict per layer, and the path of its last query."""
        has_way = self.query[-1, index] != BACKGROUND
        has_references = has_way and self.references is not None
        return {
            "query": _query(self.query[-1, index]),
            "layers": [self._match(layer, index) for layer in range(self.layers)],
            "boxes": self.boxes[:, index].tolist() if has_way else None,
            "references": [layer[index].tolist() for layer in self.references] if has_references else None,
        }

    def _match(self, layer: int, index: int) -> dict[str, Any]:
        place = layer, index
        return {
            "query": _query(self.query[place]),
            "changed": bool(self.changed[place]),
            "score": _number(self.score[place]),
            "iou": _number(self.iou[place]),
            "cost": _number(self.total[place]),
            "costs": {term: _number(values[place]) for term, values in self.costs.items()},
            "runner_up": _query(self.runner_up[place]),
            "margin": _number(self.margin[place]),
        }


@torch.no_grad()
def inspect_queries(
    name: str, assigner: Assigner, outputs: QueryOutputs, written_for: Any, targets: Targets
) -> QueryInspection:
    """What an assigner makes of all decoder layers' predictions for one image.

    Args:
        name: to call the assigner by.
        assigner: a Hungarian matching of one query per target with any weighting and score model.
        outputs: of one image at inference, B = 1.
        written_for: the score model of `outputs`; P carries over to the assigner's (see `translate`).
        targets: of that image, unpadded, with its size.

    Raises:
        ValueError: when there is more than one image, or the assigner has no matching costs to show.
    """
    check_one_image(targets)
    reason = why_not_followed(assigner)
    if reason:
        raise ValueError(f"assigner {name!r}: expected {reason}")
    predictions = predictions_of(outputs, written_for, assigner, targets)
    stacked = targets.repeat(len(outputs.logits))
    query = matched_queries(assigner.match(predictions, stacked), stacked)
    costs = {term: cost.part(predictions, stacked) * cost.weight for term, cost in assigner.matching.costs.items()}
    probability = assigner.score(predictions).probability
    overlap = iou(predictions.boxes[:, :, None], stacked.boxes[:, None])
    free = ~torch.isin(torch.arange(predictions.boxes.shape[1]), query[-1])
    return QueryInspection(
        name,
        predictions.boxes.shape[1],
        query.numpy(),
        of_matched(at_labels(probability, stacked), query).numpy(),
        of_matched(overlap, query).numpy(),
        {term: of_matched(cost, query).numpy() for term, cost in costs.items()},
        *(part.numpy() for part in runner_up(sum(costs.values()), query)),
        of_queries(predictions.boxes, query[-1]).numpy(),
        _references(outputs, targets.sizes, query[-1]),
        predictions.boxes[-1, free].numpy(),
        probability[-1, free].amax(-1).numpy(),
        samples_of(name, assigner, predictions, targets),
    )


def query_samples(name: str, assigner: Assigner, outputs: QueryOutputs, written_for: Any, targets: Targets) -> Samples:
    """What any assigner gives the objects of one image of the last layer's queries; arguments as of `inspect_queries`."""
    return samples_of(name, assigner, predictions_of(outputs, written_for, assigner, targets), targets)


def predictions_of(outputs: QueryOutputs, written_for: Any, assigner: Assigner, targets: Targets) -> Predictions:
    """All layers, stacked, as an assigner reads them: those of its score model, with points, strides and priors."""
    stacked = stacked_predictions(outputs, targets, geometry=True)
    return translate(stacked.at_least_float32(), written_for, assigner.score)


def why_not_followed(assigner: Assigner) -> str | None:
    """Why an assigner's matches cannot be followed from layer to layer, None where they can."""
    matching = assigner.matching
    if not isinstance(matching, Hungarian):
        return f"a Hungarian matching, whose costs can be shown, got {type(matching).__name__}"
    if not matching.is_one_to_one:
        return f"one query per target, which can be followed, got {matching.copies} copies"
    return None


def matched_queries(matches: Any, targets: Targets) -> Tensor:
    """(B, M) the one sample matched with each target, BACKGROUND without."""
    query = torch.full_like(targets.labels, BACKGROUND)
    query[matches.image, matches.target] = matches.sample
    return query


def of_matched(values: Tensor, query: Tensor) -> Tensor:
    """(L, M) the entries of values (L, Q, M) that belong to the matched queries (L, M), NaN without."""
    return values.gather(1, query.clamp(min=0)[:, None])[:, 0].masked_fill(query == BACKGROUND, math.nan)


def runner_up(cost: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
    """The cheapest query (L, M) besides the matched one (L, M), and by how much it costs more, from costs (L, Q, M).

    >>> runner_up(torch.tensor([[[3.0], [1.0], [7.0]]]), torch.tensor([[1]]))
    (tensor([[0]]), tensor([[2.]]))
    """
    rest, index = cost.scatter(1, query.clamp(min=0)[:, None], math.inf).min(1)
    missing = (query == BACKGROUND) | ~rest.isfinite()
    margin = rest - of_matched(cost, query)
    return index.masked_fill(missing, BACKGROUND), margin.masked_fill(missing, math.nan)


def of_queries(values: Tensor, query: Tensor) -> Tensor:
    """(L, M, K) what the queries (M,) have in every layer, of values (L, Q, K); NaN without a query."""
    return values[:, query.clamp(min=0)].masked_fill((query == BACKGROUND)[None, :, None], math.nan)


def _references(outputs: QueryOutputs, sizes: Tensor, query: Tensor) -> tuple[np.ndarray, ...] | None:
    if outputs.references is None:
        return None
    pixels = (layer.float() * sizes.repeat(1, layer.shape[-1] // 2) for layer in outputs.references)
    return tuple(of_queries(layer, query)[0].numpy() for layer in pixels)


def _mean(values: np.ndarray) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None


def _query(value: np.integer) -> int | None:
    return None if value == BACKGROUND else int(value)


def _number(value: np.floating) -> float | None:
    return None if np.isnan(value) else float(value)
