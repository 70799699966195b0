"""Score models: how a head's logits become the probability P that the loss and the assigner see.

Everything is done in log space, so no logit is large enough to produce an infinite loss. The original implementation of
DW multiplies probabilities and floors their logs at -100; `space="probability"` reproduces that for parity.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy, logsigmoid, softplus

from .registry import SCORES
from .rows import Rows
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
    """Log-probabilities of one batch of predictions, shared by weighting and loss.

    Args:
        log_absent: (B, N, C) log(1 - P); or how it follows from the predictions, which is worked out when somebody asks.
        log_present: function of (image, sample, label), each (P,), giving log P there, (P,).
        background: (B, N) log-probability of the background class of a softmax, or None.
        log_absent_at: as log_present, log(1 - P); None picks from log_absent.
    """

    def __init__(
        self,
        log_absent: Tensor | Rows,
        log_present: Callable[[Tensor, Tensor, Tensor], Tensor],
        background: Tensor | None = None,
        log_absent_at: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None,
    ) -> None:
        self.absent = log_absent if isinstance(log_absent, Rows) else Rows(_itself, (log_absent,))
        self._log_present = log_present
        self.log_background = background
        self.log_absent_at = log_absent_at or (lambda *entry: self.log_absent[entry])

    @property
    def shape(self) -> torch.Size:
        """(B, N, C)."""
        return self.absent.shape

    @cached_property
    def log_absent(self) -> Tensor:
        """(B, N, C) log(1 - P), with gradient."""
        return self.absent.whole()

    def log_present(self, matches: Matches, labels: Tensor) -> Tensor:
        """log P of each pair's sample for the pair's class -> (P,)."""
        return self._log_present(matches.image, matches.sample, labels)

    @cached_property
    def probability(self) -> Tensor:
        """P (B, N, C), with gradient; 0 where a logit is not a number."""
        return probability_of(self.log_absent)

    @torch.no_grad()
    def best_at(self, image: Tensor, sample: Tensor) -> Tensor:
        """The largest P of a sample, each (P,) -> (P,), without gradient."""
        return probability_of(self.absent.at(image, sample)).amax(-1).detach()  # by name, so that laws hold it fixed


def probability_of(log_absent: Tensor) -> Tensor:
    """P from log(1 - P), 0 where that is not a number."""
    return -torch.expm1(log_absent).nan_to_num(nan=0.0)


def _itself(log_absent: Tensor) -> Tensor:
    return log_absent


def _by_class(absent: Callable[..., Tensor], present: Callable[..., Tensor], logits: Tensor, *others: Tensor) -> Scores:
    """Scores where every class is for itself: log(1 - P) and log P of a logit and the sample's other numbers (B, N)."""

    def at(image: Tensor, sample: Tensor, label: Tensor) -> tuple[Tensor, ...]:
        return logits[image, sample, label], *(other[image, sample] for other in others)

    inputs = logits, *(other[..., None] for other in others)
    return Scores(
        Rows(absent, inputs), lambda *entry: present(*at(*entry)), log_absent_at=lambda *entry: absent(*at(*entry))
    )


@SCORES.register("sigmoid")
class Sigmoid:
    """P = sigmoid(logit); an objectness or centerness branch, if any, does not enter the loss on P."""

    needs: frozenset[str] = frozenset()
    uses_objectness = False
    background_column = False

    def __call__(self, predictions: Predictions) -> Scores:
        return _by_class(lambda logits: logsigmoid(-logits), logsigmoid, predictions.logits)


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
            objectness = objectness.detach() + 0 * objectness  # stays in the graph: no parameter is ever unused
        if self.space == "probability":
            return _scores_from_probability(logits.sigmoid() * objectness.sigmoid()[..., None])
        return _by_class(
            lambda *pair: logsigmoid(-product_logit(*pair)),
            lambda *pair: logsigmoid(product_logit(*pair)),
            logits,
            objectness,
        )


def product_logit(logits: Tensor, others: Tensor) -> Tensor:
    """The logit of ab for a = sigmoid(logits), b = sigmoid(others); broadcast.

    With the odds against them, u = (1 - a) / a and v likewise, those against both are u + v + uv: terms that cancel nothing.
    """
    return -torch.logaddexp(-logits, softplus(-logits) - others)


@SCORES.register("geometric_mean")
class GeometricMean:
    """P = sqrt(sigmoid(class logit) * sigmoid(objectness logit)), where both branches must agree (TOOD, arXiv 2108.07755).

    Its gradient is finite and never vanishes on a side that is wrong, however close to 0 or 1 the sigmoids are.
    """

    needs = frozenset({"objectness"})
    uses_objectness = True
    background_column = False
    rare = True  # the second branch says yes of as few samples as a class does

    def __call__(self, predictions: Predictions) -> Scores:
        logits, objectness = predictions.logits, predictions.objectness
        if objectness is None:
            raise ValueError("objectness: the score model geometric_mean needs it, got None")
        return _by_class(_log_root_complement, _log_root, logits, objectness)


def _log_root(logits: Tensor, others: Tensor) -> Tensor:
    """log sqrt(ab)."""
    return logsigmoid(product_logit(logits, others)) / 2


def _log_root_complement(logits: Tensor, others: Tensor) -> Tensor:
    """log(1 - sqrt(ab)), from 1 - ab = (1 - sqrt(ab)) (1 + sqrt(ab))."""
    both = product_logit(logits, others)
    return logsigmoid(-both) - torch.log1p((logsigmoid(both) / 2).exp())


@SCORES.register("softmax")
class Softmax:
    """P over C classes and a background, the last of C + 1 columns.

    The classes compete: pushing one up pushes every other down, so w⁻ on one class also lifts the others. Matchings and
    weightings see P of the C real classes; a weighting may put weight on the background itself
    (`Assignment.background`).
    """

    needs: frozenset[str] = frozenset()
    uses_objectness = False
    background_column = True

    def __call__(self, predictions: Predictions) -> Scores:
        log_probability = predictions.logits.log_softmax(-1)
        present, background = log_probability[..., :-1], log_probability[..., -1]
        absent = Rows(_softmax_absent, (predictions.logits,))
        return Scores(absent, lambda image, sample, label: present[image, sample, label], background)


def _softmax_absent(logits: Tensor) -> Tensor:
    return log_softmax_complement(logits.log_softmax(-1))[..., :-1]


def log_softmax_complement(log_probability: Tensor) -> Tensor:
    """log(1 - P) of every class of a softmax from log P, (..., K) -> (..., K).

    1 - P can round to nothing only for a class likelier than all others together; there it is summed over those.
    """
    dominant = log_probability > -0.5
    others = log_probability.masked_fill(dominant, -torch.inf).logsumexp(-1, keepdim=True)
    return torch.where(dominant, others, log1mexp(log_probability))


def _scores_from_probability(probability: Tensor) -> Scores:
    """Scores whose logs are floored at -100 as torch's binary cross entropy does, gradient included."""

    def log_present(image: Tensor, sample: Tensor, label: Tensor) -> Tensor:
        return _floored_log(probability[image, sample, label], 1.0)

    scores = Scores(Rows(lambda rows: _floored_log(rows, 0.0), (probability,)), log_present)
    scores.probability = probability.nan_to_num(nan=0.0)
    return scores


def _floored_log(probability: Tensor, outcome: float) -> Tensor:
    """Log of the probability of outcome 1 or 0; what is not a number stays so (binary cross entropy would abort)."""
    wanted = torch.full_like(probability, outcome, requires_grad=False)
    loss = binary_cross_entropy(probability.nan_to_num(nan=0.0), wanted, reduction="none")
    return torch.where(probability.isnan(), probability, -loss)
