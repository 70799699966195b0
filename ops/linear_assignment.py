"""Linear assignment: the one-to-one matching of rows and columns with the least total cost, for a batch of problems.

The kernel is a shortest augmenting path method ("A Shortest Augmenting Path Algorithm for Dense and Sparse Linear
Assignment Problems", Jonker and Volgenant, Computing 1987; "On Implementing 2D Rectangular Assignment Algorithms",
Crouse, 2016). The reference calls scipy's, one problem at a time.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ._library import has_kernels, tell_missing

__all__ = ["LinearAssignment", "linear_assignment", "linear_assignment_reference"]

HEADROOM = 2.0**-64  # a power of two rounds nothing, and no sum of costs scaled by it overflows


class LinearAssignment(NamedTuple):
    """The matched pairs of a batch of problems.

    Attributes:
        row: (B, K) long, the pairs' rows, ascending, then -1 where a problem has fewer pairs than K = min(N, M).
        column: (B, K) long, their columns, -1 in the same places.
        not_finite: (B, K) bool, pairs whose cost is NaN or infinite; there was no way around them.
    """

    row: Tensor
    column: Tensor
    not_finite: Tensor

    def pairs(self) -> tuple[Tensor, Tensor, Tensor]:
        """The same pairs as flat index tensors (problem, row, column), (P,) each, by problem and row.

        >>> linear_assignment(torch.tensor([[[2.0, 1.0]], [[1.0, 2.0]]])).pairs()
        (tensor([0, 1]), tensor([0, 0]), tensor([1, 0]))
        """
        problem, place = (self.row >= 0).nonzero(as_tuple=True)
        return problem, self.row[problem, place], self.column[problem, place]


def linear_assignment(cost: Tensor, rows: Tensor | None = None, columns: Tensor | None = None) -> LinearAssignment:
    """Match rows and columns one to one at the least total cost, in every problem of the batch.

    Each problem gets min(rows, columns) pairs, whichever side is the shorter one. The total, in float64, is the least
    there is; where several matchings reach it, which of them comes out is fixed, but not specified. An entry that is
    NaN or infinite (of either sign) is matched only where nothing else is left: as few of them as possible, and then
    the finite ones at the least total. Such pairs are marked in ``not_finite``.

    Args:
        cost: (B, N, M), floating point, any strides. No gradient flows through the result.
        rows: (B,) integers from 0 to N: how many rows of each problem are valid, from the first. All, if None.
        columns: (B,) integers from 0 to M: likewise for the columns.

    Returns:
        The pairs, on the device of ``cost``.

    Raises:
        ValueError: if a shape or a dtype is not as above, or a size is out of range (in a compiled graph, where the
            sizes are not known, that is the kernel's RuntimeError).

    Problems are solved on the CPU, in parallel over the batch and without holding the interpreter's lock. A cost on
    another device is copied to the host once and waited for; so are sizes, unless they are on the host already.

    >>> cost = torch.tensor([[[4.0, 1.0, 3.0], [2.0, 0.0, float("nan")]]])
    >>> linear_assignment(cost)
    LinearAssignment(row=tensor([[0, 1]]), column=tensor([[1, 0]]), not_finite=tensor([[False, False]]))
    >>> linear_assignment(cost, columns=torch.tensor([1])).column
    tensor([[ 0, -1]])
    """
    host_cost, rows, columns = _checked(cost, rows, columns)
    if not has_kernels("cpu"):
        tell_missing("cpu", "scipy")
        return _on(cost.device, _solve_all(host_cost, rows, columns))
    return _on(cost.device, LinearAssignment(*torch.ops.detassign.linear_assignment(host_cost, rows, columns)))


def linear_assignment_reference(
    cost: Tensor, rows: Tensor | None = None, columns: Tensor | None = None
) -> LinearAssignment:
    """:func:`linear_assignment` through scipy: what the kernel is tested against, and what runs where there is none."""
    host_cost, rows, columns = _checked(cost, rows, columns)
    return _on(cost.device, _solve_all(host_cost, rows, columns))


def _on(device: torch.device, assignment: LinearAssignment) -> LinearAssignment:
    return LinearAssignment(*(value.to(device) for value in assignment))


def _checked(cost: Tensor, rows: Tensor | None, columns: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """The cost and the sizes, on the host."""
    if cost.dim() != 3:
        raise ValueError(f"Expected cost to be of shape (B, N, M) but got {tuple(cost.shape)}.")
    if not cost.is_floating_point():
        raise ValueError(f"Expected cost to be floating point but got {cost.dtype}.")
    B, N, M = cost.shape
    host_cost = cost.detach() if cost.is_meta else cost.detach().cpu()
    sizes = (
        _checked_sizes("rows", rows, B, N, host_cost.device),
        _checked_sizes("columns", columns, B, M, host_cost.device),
    )
    return host_cost, *sizes


def _checked_sizes(name: str, sizes: Tensor | None, count: int, limit: int, device: torch.device) -> Tensor:
    if sizes is None:
        return torch.full((count,), limit, dtype=torch.long, device=device)
    if sizes.shape != (count,):
        raise ValueError(f"Expected {name} to be of shape {(count,)} but got {tuple(sizes.shape)}.")
    if sizes.is_floating_point() or sizes.is_complex() or sizes.dtype == torch.bool:
        raise ValueError(f"Expected {name} to be integers but got {sizes.dtype}.")
    sizes = sizes.to(device, torch.long)
    if not torch.compiler.is_compiling() and not sizes.is_meta and ((sizes < 0) | (sizes > limit)).any():
        raise ValueError(f"Expected {name} to be within 0 to {limit} but got {sizes.tolist()}.")
    return sizes


def _solve_all(cost: Tensor, rows: Tensor, columns: Tensor) -> LinearAssignment:
    B, N, M = cost.shape
    row = torch.full((B, min(N, M)), -1)
    column, not_finite = row.clone(), torch.zeros_like(row, dtype=torch.bool)
    for b, (n, m) in enumerate(zip(rows.tolist(), columns.tolist(), strict=True)):
        count, problem = min(n, m), cost[b, :n, :m].double() * HEADROOM
        row[b, :count], column[b, :count] = _solve(problem)
        not_finite[b, :count] = ~problem[row[b, :count], column[b, :count]].isfinite()
    return LinearAssignment(row, column, not_finite)


def _solve(cost: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (ascending) and columns of the pairs of one problem, (N, M) float64."""
    finite = cost.isfinite()
    gaps = 0 if finite.all() else _fewest_gaps(finite)
    cost = cost.where(finite, torch.inf)
    return _solve_with_gaps(cost, gaps) if gaps else _scipy(cost)


def _fewest_gaps(finite: Tensor) -> int:
    """How many pairs cannot be finite, however they are chosen."""
    return int((~finite[_scipy((~finite).double())]).sum())


def _solve_with_gaps(cost: Tensor, gaps: int) -> tuple[Tensor, Tensor]:
    """The pairs where all but ``gaps`` can be finite; the rows and columns left over are paired in order.

    Further columns, free of charge, take the rows that go without, and further rows the columns; there are just so many
    of both that the rest must be matched, at the least cost. (A penalty instead would drown small costs beside it.)
    """
    N, M = cost.shape
    pairs = min(N, M) - gaps
    widened = cost.new_zeros(N + M - pairs, M + N - pairs)
    widened[:N, :M], widened[N:, M:] = cost, torch.inf
    row, column = _scipy(widened)
    real = (row < N) & (column < M)
    row, column = row[real], column[real]
    other_rows, other_columns = _others(row, N)[:gaps], _others(column, M)[:gaps]
    row, order = torch.cat([row, other_rows]).sort()
    return row, torch.cat([column, other_columns])[order]


def _others(index: Tensor, size: int) -> Tensor:
    """The numbers below ``size`` that are not in ``index``, ascending."""
    return torch.ones(size, dtype=torch.bool).index_fill(0, index, False).nonzero()[:, 0]


def _scipy(cost: Tensor) -> tuple[Tensor, Tensor]:
    from scipy.optimize import linear_sum_assignment

    row, column = linear_sum_assignment(cost.numpy())
    return torch.from_numpy(row), torch.from_numpy(column)


def _fake(cost: Tensor, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    B, N, M = cost.shape
    row = cost.new_empty((B, torch.sym_min(N, M)), dtype=torch.long)  # pyright: ignore[reportCallIssue, reportArgumentType]
    return row, torch.empty_like(row), torch.empty_like(row, dtype=torch.bool)


def _no_vmap(*args: Any) -> None:
    raise RuntimeError(
        "linear_assignment does not run under vmap: its first dimension is the batch, fold yours into it."
    )


if has_kernels("cpu"):
    torch.library.register_fake("detassign::linear_assignment", _fake)
    torch.library.register_vmap("detassign::linear_assignment", _no_vmap)
