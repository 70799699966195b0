"""Score models: how a head's logits become the probability P that the loss and the assigner see.

Everything is done in log space, so no logit is large enough to produce an infinite loss. The original implementation of
DW multiplies probabilities and floors their logs at -100; `space="probability"` reproduces that for parity.
"""

from __future__ import annotations

from functools import cached_property
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy, logsigmoid

from .registry import SCORES
from .structures import Matches, Predictions


def log1mexp(log_probability: Tensor) -> Tensor:
    """log(1 - exp(x)) for x <= 0, accurate at both ends; finite (the smallest float's log) at x = 0.

    >>> log1mexp(torch.tensor([-0.6931472])).item()
    -0.6931471...
    """
    tiny = torch.finfo(log_probability.dtype).tiny
    x = log_probability.clamp(max=-tiny)
    near_one = x > -0.6931472
    return torch.where(
        near_one,
        torch.log(-torch.expm1(torch.where(near_one, x, -1.0))),
        torch.log1p(-torch.where(near_one, -1.0, x).exp()),
    )


class Scores:
    """Log-probabilities of one batch of predictions, computed once and shared by weighting and loss.

    Args:
        log_absent: (B, N, C) log(1 - P).
        log_present: function of (image, sample, label), each (P,), giving log P there, (P,).
        background: (B, N) log-probability of the background class of a softmax, or None.
    """

    def __init__(self, log_absent: Tensor, log_present, background: Tensor | None = None) -> None:
        self.log_absent = log_absent
        self._log_present = log_present
        self.log_background = background

    def log_present(self, matches: Matches, labels: Tensor) -> Tensor:
        """log P of each pair's sample for the pair's class -> (P,)."""
        return self._log_present(matches.image, matches.sample, labels)

    @cached_property
    def probability(self) -> Tensor:
        """P (B, N, C), with gradient; 0 where a logit is not a number."""
        return -torch.expm1(self.log_absent).nan_to_num(nan=0.0)


@SCORES.register("sigmoid")
class Sigmoid:
    """P = sigmoid(logit); an objectness or centerness branch, if any, does not enter the loss on P."""

    needs: frozenset[str] = frozenset()
    uses_objectness = False
    background_column = False

    def __call__(self, predictions: Predictions) -> Scores:
        logits = predictions.logits
        return Scores(logsigmoid(-logits), lambda image, sample, label: logsigmoid(logits[image, sample, label]))


@SCORES.register("sigmoid_objectness")
class SigmoidObjectness:
    """P = sigmoid(class logit) * sigmoid(objectness logit), one joint confidence (DW, AutoAssign).

    Args:
        space: "log" is exact for every logit; "probability" multiplies probabilities and floors logs at -100.
        detach_objectness: let the objectness branch weigh the score without learning from it.
    """

    needs = frozenset({"objectness"})
    uses_objectness = True
    background_column = False

    def __init__(self, space: Literal["log", "probability"] = "log", detach_objectness: bool = False) -> None:
        if space not in ("log", "probability"):
            raise ValueError(f'space: expected "log" or "probability", got {space!r}')
        self.space = space
        self.detach_objectness = detach_objectness

    def __call__(self, predictions: Predictions) -> Scores:
        logits, objectness = predictions.logits, predictions.objectness
        if objectness is None:
            raise ValueError("objectness: the score model sigmoid_objectness needs it, got None")
        if self.detach_objectness:
            objectness = objectness.detach()
        if self.space == "probability":
            return _scores_from_probability(logits.sigmoid() * objectness.sigmoid()[..., None])
        present = logsigmoid(objectness)
        # 1 - ab = (1 - a) + a (1 - b), a sum of positive terms: no cancellation anywhere
        absent = torch.logaddexp(logsigmoid(-logits), logsigmoid(logits) + logsigmoid(-objectness)[..., None])
        return Scores(
            absent, lambda image, sample, label: logsigmoid(logits[image, sample, label]) + present[image, sample]
        )


@SCORES.register("softmax")
class Softmax:
    """P over C classes and a background, the last of C + 1 columns.

    The classes compete: pushing one up pushes every other down, so w⁻ on one class also lifts the others. Matchings and
    weightings see P of the C real classes; a weighting may put weight on the background itself (`Assignment.background`).
    """

    needs: frozenset[str] = frozenset()
    uses_objectness = False
    background_column = True

    def __call__(self, predictions: Predictions) -> Scores:
        log_probability = predictions.logits.log_softmax(-1)
        present, background = log_probability[..., :-1], log_probability[..., -1]
        absent = log_softmax_complement(predictions.logits, log_probability)[..., :-1]
        return Scores(absent, lambda image, sample, label: present[image, sample, label], background)


def log_softmax_complement(logits: Tensor, log_probability: Tensor) -> Tensor:
    """log(1 - P) of a softmax, (..., K) and its log-probabilities (..., K) -> (..., K).

    Only the likeliest class can be so sure that 1 - P rounds to nothing; its complement is summed over the others.
    """
    likeliest = torch.zeros_like(logits, dtype=torch.bool).scatter_(-1, logits.argmax(-1, keepdim=True), True)
    others = logits.masked_fill(likeliest, -torch.inf).logsumexp(-1, keepdim=True)
    return torch.where(likeliest, others - logits.logsumexp(-1, keepdim=True), log1mexp(log_probability))


def _scores_from_probability(probability: Tensor) -> Scores:
    """Scores whose logs are floored at -100 as torch's binary cross entropy does, gradient included."""
    absent = -binary_cross_entropy(probability, torch.zeros_like(probability), reduction="none")

    def log_present(image: Tensor, sample: Tensor, label: Tensor) -> Tensor:
        chosen = probability[image, sample, label]
        return -binary_cross_entropy(chosen, torch.ones_like(chosen), reduction="none")

    scores = Scores(absent, log_present)
    scores.probability = probability
    return scores
