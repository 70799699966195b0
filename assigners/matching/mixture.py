"""Mixtures of two Gaussians, fitted to many small sets of numbers at once.

Expectation maximisation as scikit-learn's `GaussianMixture(2)` does it when weights (1/2, 1/2), means (smallest and largest
value) and precisions (1, 1) are given, which makes it deterministic: equal to it in float64 up to rounding, iterations
included.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

REGULARIZATION = 1e-6  # added to every variance
TOLERANCE = 1e-3  # a set is done when its mean log-likelihood changes by less
MAX_ITERATIONS = 100
LOOKS = (
    8,
    16,
    32,
    64,
)  # iterations after which a GPU is asked, and waited for, whether all sets are done; a CPU always


@dataclass(frozen=True)
class Mixture:
    """R mixtures of two components, and what they say of the K numbers that each was fitted to.

    Attributes:
        means, variances, weights: (R, 2); the first component is the one that started at the smallest number.
        component: (R, K) 0 or 1, the likelier component of each number.
        log_density: (R, K) of the whole mixture at each number.
        iterations: (R,) how many the fit took.
    """

    means: Tensor
    variances: Tensor
    weights: Tensor
    component: Tensor
    log_density: Tensor
    iterations: Tensor


@torch.no_grad()
def fit_two_gaussians(values: Tensor, usable: Tensor) -> Mixture:
    """A mixture for every row of `values` (R, K), of its `usable` (R, K) numbers; a row without any has an arbitrary one.

    >>> mixture = fit_two_gaussians(torch.tensor([[1.0, 1.2, 5.0, 5.2]]), torch.ones(1, 4, dtype=torch.bool))
    >>> mixture.means.round(decimals=1), mixture.component.tolist()
    (tensor([[1.1000, 5.1000]]), [[0, 0, 1, 1]])
    """
    values = torch.where(usable, values, 0)
    ends = [values.masked_fill(~usable, limit) for limit in (torch.inf, -torch.inf)]
    means = torch.stack([ends[0].amin(-1), ends[1].amax(-1)], -1).nan_to_num(posinf=0.0, neginf=0.0)
    variances, weights = torch.ones_like(means), torch.full_like(means, 0.5)
    bound, count = means.new_full(means.shape[:1], -torch.inf), usable.sum(-1)
    iterations, running = torch.zeros_like(count), count > 0
    for iteration in range(MAX_ITERATIONS):
        if (iteration in LOOKS or values.device.type == "cpu") and not running.any():
            break
        share, density = _expectation(values, means, variances, weights)
        likelihood = torch.where(usable, density, 0).sum(-1) / count.clamp(min=1)
        changed = zip(_maximization(values, share * usable[..., None], count), (means, variances, weights), strict=True)
        means, variances, weights = (torch.where(running[:, None], new, old) for new, old in changed)
        iterations = iterations + running
        running = running & ~((likelihood - bound).abs() < TOLERANCE)
        bound = likelihood
    share, density = _expectation(values, means, variances, weights)
    return Mixture(means, variances, weights, share.argmax(-1), density, iterations)


def _expectation(values: Tensor, means: Tensor, variances: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """(R, K, 2) share of each component in each number, and (R, K) the log density of their mixture."""
    means, variances, weights = (each[:, None] for each in (means, variances, weights))
    distance = (values[..., None] - means) ** 2 / variances
    logs = weights.log() - 0.5 * (math.log(2 * math.pi) + distance + variances.log())
    density = logs.logsumexp(-1)
    return (logs - density[..., None]).exp(), density


def _maximization(values: Tensor, share: Tensor, count: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Means, variances and weights (R, 2) from the components' shares (R, K, 2) in the numbers."""
    total = share.sum(1) + 10 * torch.finfo(values.dtype).eps
    means = (share * values[..., None]).sum(1) / total
    variances = (share * (values[..., None] - means[:, None]) ** 2).sum(1) / total + REGULARIZATION
    weights = total / count.clamp(min=1)[:, None]
    return means, variances, weights / weights.sum(-1, keepdim=True)
