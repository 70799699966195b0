"""Entropic transport from suppliers to samples, where most pairs are forbidden (Sinkhorn, in log space).

Every target supplies some units to the samples that are its candidates, the background of an image what is left to any, and
every valid sample takes one. A pair that is no candidate sends nothing, so only candidates are computed with; samples that are
nobody's have the background alone.
"""

from __future__ import annotations

import torch
from torch import Tensor

TINY = 1e-8  # added to supplies and demands before their logs, as in OTA's code


def sinkhorn(
    cost: Tensor,
    slot: Tensor,
    row: Tensor,
    background: Tensor,
    supply: Tensor,
    valid: Tensor,
    eps: float = 0.1,
    iterations: int = 50,
    late: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Logs of what goes where after so many iterations: from targets, pair by pair (P,), and from backgrounds (B, N).

    Computed in float64, all images at a time.

    Args:
        cost: (P,) of the pairs; one of infinite cost sends nothing.
        slot: (P,) the sample of each among all B * N.
        row: (P,) its target among all B * M.
        background: (B, N) cost of a sample as background.
        supply: (B, M) units that each target has; a background has what the valid samples leave, at least none.
        valid: (B, N) bool, samples that take a unit.
        eps: weight of the entropy, in units of cost.
        iterations: each settles the samples' demands, then the supplies.
        late: (B, M) bool, targets that send nothing in the first half of the first iteration; None where there are none.
    """
    pairs, rest = -cost.double() / eps, (-background.double() / eps).masked_fill(~valid, -torch.inf)
    left = (valid.sum(1) - supply.sum(1)).clamp(min=0)
    log_supply, log_left = ((value.double() + TINY).log() for value in (supply.flatten(), left[:, None]))
    nothing = torch.full_like(log_supply, torch.finfo(log_supply.dtype).min)  # not -inf: all pairs may cost inf
    from_target = torch.full_like(log_supply, 1 / eps)
    if late is not None:
        from_target = from_target.masked_fill(late.flatten(), -torch.inf)
    from_rest, to_sample = torch.full_like(log_left, 1 / eps), torch.zeros_like(rest)
    for _ in range(iterations):
        received = _log_sums(pairs + from_target[row], slot, (rest + from_rest).flatten()).view_as(rest)
        to_sample = torch.where(valid, -received, 0.0)
        from_target = log_supply - _log_sums(pairs + to_sample.flatten()[slot], row, nothing)
        from_rest = log_left - (rest + to_sample).logsumexp(1, keepdim=True)
    return pairs + from_target[row] + to_sample.flatten()[slot], rest + from_rest + to_sample


def _log_sums(values: Tensor, index: Tensor, others: Tensor) -> Tensor:
    """(K,) log of the sum of exp of the values (P,) of each index, and of one more each, others (K,)."""
    top = others.scatter_reduce(0, index, values, "amax").clamp(min=torch.finfo(values.dtype).min)
    total = (others - top).exp().index_add_(0, index, (values - top[index]).exp())
    return total.log() + top
