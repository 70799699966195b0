"""How a bag of samples answers for an object: many likelihoods become one.

Each is a callable (log_likelihood, prior, bag, bags): the log of every pair's likelihood q (P,), the matching's score (P,),
the index of its bag (P,) and how many bags there are. It gives −log of every bag's likelihood (bags,), 0 for a bag without
pairs, and the log of every pair's part in it (P,), whose softmax within the bag is its share. Both carry gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

from .registry import AGGREGATORS
from .scores import log1mexp


@AGGREGATORS.register("exponential")
class Exponential:
    """The mean of q under the weights e^(temperature q) prior (AutoAssign, arXiv 2007.03496, eq. 7-8).

    The weights carry gradient, so a pair that beats the mean of its bag learns more than its share.
    """

    def __init__(self, temperature: float = 3.0) -> None:
        self.temperature = temperature

    def __call__(self, log_likelihood: Tensor, prior: Tensor, bag: Tensor, bags: int) -> tuple[Tensor, Tensor]:
        tiny = torch.finfo(prior.dtype).tiny  # a prior that vanished leaves all of the bag alike
        log_weight = self.temperature * log_likelihood.exp() + prior.clamp(min=tiny).log()
        part = log_weight + log_likelihood
        return log_sum_exp(log_weight, bag, bags) - log_sum_exp(part, bag, bags), part


@AGGREGATORS.register("mean_max")
class MeanMax:
    """The mean of q under the weights 1 / (1 − q): a mean while all are small, the largest once one is near 1.

    FreeAnchor (arXiv 1909.02466, eq. 7). With odds u = q / (1 − q) of n pairs that is sum u / (n + sum u), which keeps its
    precision at both ends; the prior takes no part.
    """

    def __call__(self, log_likelihood: Tensor, prior: Tensor, bag: Tensor, bags: int) -> tuple[Tensor, Tensor]:
        log_odds = log_likelihood - log1mexp(log_likelihood)
        count = log_odds.new_zeros(bags).index_add(0, bag, torch.ones_like(log_odds))
        negative_log = softplus(count.clamp(min=1).log() - log_sum_exp(log_odds, bag, bags))
        return negative_log * (count > 0), log_odds


def log_sum_exp(values: Tensor, group: Tensor, groups: int) -> Tensor:
    """log of the sum of exp of the values (P,) of each group (P,) -> (groups,); 0 for a group without any.

    >>> log_sum_exp(torch.tensor([0.0, 0.0, 3.0]), torch.tensor([0, 0, 2]), 3)
    tensor([0.6931, 0.0000, 3.0000])
    """
    largest = values.new_zeros(groups).scatter_reduce(0, group, values.detach(), "amax", include_self=False)
    total = values.new_zeros(groups).index_add(0, group, (values - largest[group]).exp())
    return largest + torch.where(total == 0, 1.0, total).log()
