import subprocess
import sys
import threading
from itertools import permutations

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from support.dense import recorded_assigners
from support.golden import cases
from torch import Tensor

from detassign.ops import LinearAssignment, extension_status, linear_assignment, linear_assignment_reference

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
FORMS = [linear_assignment, linear_assignment_reference]
NAN, INF = float("nan"), float("inf")
NOT_FINITE = torch.tensor([NAN, INF, -INF])

compiled = pytest.mark.skipif(
    not extension_status()["cpu"].loaded, reason=f"the compiled op is not loaded: {extension_status()['cpu'].error}"
)


def random_problems(seed: int, dtype: torch.dtype = torch.float64, largest: int = 40) -> tuple[Tensor, Tensor, Tensor]:
    """Eight problems of random sizes, NaN beyond them."""
    generator = torch.Generator().manual_seed(seed)
    N, M = torch.randint(1, largest, (2,), generator=generator).tolist()
    rows, columns = (torch.randint(0, most + 1, (8,), generator=generator) for most in (N, M))
    cost = torch.randn(8, N, M, generator=generator, dtype=torch.float64).to(dtype) * 3
    valid = (torch.arange(N)[:, None] < rows[:, None, None]) & (torch.arange(M) < columns[:, None, None])
    return cost.where(valid, NAN), rows, columns


def with_gaps(cost: Tensor, share: float, seed: int = 0) -> Tensor:
    """The cost with about this share of the entries replaced by NaN, inf or -inf."""
    generator = torch.Generator().manual_seed(seed)
    kind = torch.randint(0, 3, cost.shape, generator=generator)
    return torch.where(torch.rand(cost.shape, generator=generator) < share, NOT_FINITE.to(cost)[kind], cost)


def pairs_of(assignment: LinearAssignment, problem: int) -> tuple[list[int], list[int]]:
    count = int((assignment.row[problem] >= 0).sum())
    return assignment.row[problem, :count].tolist(), assignment.column[problem, :count].tolist()


def totals(cost: Tensor, assignment: LinearAssignment) -> Tensor:
    """(B,) float64 sums of the finite matched costs."""
    problem, row, column = assignment.pairs()
    matched = cost.double()[problem, row, column]
    matched = matched.where(matched.isfinite(), 0)
    return torch.zeros(len(cost), dtype=torch.float64).index_add(0, problem, matched)


def least_by_hand(cost: Tensor) -> tuple[int, float]:
    """The fewest entries that are not finite and, of the matchings with so few, the least total of the finite ones."""
    cost = cost if cost.shape[0] <= cost.shape[1] else cost.T
    entries, gaps = cost.where(cost.isfinite(), 0).numpy(), (~cost.isfinite()).numpy()
    row = np.arange(cost.shape[0])
    column = np.array(list(permutations(range(cost.shape[1]), cost.shape[0])))
    return min(zip(gaps[row, column].sum(1).tolist(), entries[row, column].sum(1).tolist(), strict=True))


@pytest.mark.parametrize("seed", range(40))
def test_pairs_are_scipys_very_pairs_where_the_optimum_is_unique(seed):
    cost, rows, columns = random_problems(seed)
    assignment = linear_assignment(cost, rows, columns)
    for b, (n, m) in enumerate(zip(rows.tolist(), columns.tolist(), strict=True)):
        row, column = linear_sum_assignment(cost[b, :n, :m].numpy())
        assert pairs_of(assignment, b) == (row.tolist(), column.tolist())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("steps", [0.2, 2.0, 20.0])
@pytest.mark.parametrize("seed", range(10))
def test_total_is_scipys_where_costs_tie(form, steps, seed):
    cost, rows, columns = random_problems(seed)
    cost = (cost * steps).floor()
    assignment = form(cost, rows, columns)
    for b, (n, m, total) in enumerate(zip(rows, columns, totals(cost, assignment), strict=True)):
        problem = cost[b, :n, :m].numpy()
        assert total == problem[linear_sum_assignment(problem)].sum()


@pytest.mark.parametrize("shape", [(3, 300, 300), (2, 350, 200), (2, 200, 350), (1, 900, 20)])
@pytest.mark.parametrize("ties", [False, True])
def test_large_problems_are_solved_as_scipy_solves_them(shape, ties):
    cost = torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    cost = (cost * 50).floor() if ties else cost
    expected = linear_assignment_reference(cost)
    assignment = linear_assignment(cost)
    torch.testing.assert_close(totals(cost, assignment), totals(cost, expected), rtol=1e-13, atol=0)
    assert ties or all(map(torch.equal, assignment, expected))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("seed", range(10))
def test_pairs_are_one_to_one_by_row_and_padded_at_the_end(form, seed):
    cost, rows, columns = random_problems(seed, torch.float32)
    assignment = form(cost, rows, columns)
    assert assignment.row.shape == assignment.column.shape == assignment.not_finite.shape == (8, min(cost.shape[1:]))
    assert (assignment.row.dtype, assignment.not_finite.dtype) == (torch.int64, torch.bool)
    assert torch.equal((assignment.row >= 0).sum(1), torch.minimum(rows, columns))
    assert torch.equal(assignment.row < 0, assignment.column < 0)
    for b in range(8):
        row, column = pairs_of(assignment, b)
        assert sorted(set(row)) == row
        assert len(set(column)) == len(column)
        assert all(0 <= r < rows[b] for r in row)
        assert all(0 <= c < columns[b] for c in column)


@pytest.mark.parametrize("form", FORMS)
def test_flat_pairs_are_the_padded_ones_in_order(form):
    cost = torch.tensor([[[5.0, 1.0], [1.0, 5.0]], [[1.0, 9.0], [9.0, 9.0]], [[0.0, 0.0], [0.0, 0.0]]])
    problem, row, column = form(cost, torch.tensor([2, 1, 0])).pairs()
    assert (problem.tolist(), row.tolist(), column.tolist()) == ([0, 0, 1], [0, 1, 0], [1, 0, 0])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("device", DEVICES)
def test_kernel_equals_the_reference_in_every_dtype(device, dtype):
    for seed in range(20):
        cost, rows, columns = random_problems(seed, dtype)
        expected = linear_assignment_reference(cost, rows, columns)
        assignment = linear_assignment(cost.to(device), rows.to(device), columns.to(device))
        assert {value.device.type for value in assignment} == {device}
        assignment = LinearAssignment(*(value.cpu() for value in assignment))
        torch.testing.assert_close(totals(cost, assignment), totals(cost, expected), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("shape", [(1, 5), (5, 5), (4, 6), (6, 4), (3, 1)])
def test_entries_that_are_not_finite_are_as_few_as_can_be_and_then_the_total_is_the_least(form, share, shape):
    generator = torch.Generator().manual_seed(0)
    for ties in (False, True):
        cost = torch.randn(20, *shape, generator=generator, dtype=torch.float64) * 4
        cost = with_gaps(cost.round() if ties else cost, share)
        assignment = form(cost)
        problem, row, column = assignment.pairs()
        assert torch.equal(assignment.not_finite.flatten(), ~cost[problem, row, column].isfinite())
        for b, total in enumerate(totals(cost, assignment)):
            gaps, least = least_by_hand(cost[b])
            assert assignment.not_finite[b].sum() == gaps
            torch.testing.assert_close(total.item(), least, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("seed", range(40))
def test_kernel_equals_the_reference_where_rows_and_columns_must_be_left_out(seed):
    cost, rows, columns = random_problems(seed)
    cost = with_gaps(cost, (0.3, 0.6, 0.9, 0.97)[seed % 4], seed)
    assert all(
        map(torch.equal, linear_assignment(cost, rows, columns), linear_assignment_reference(cost, rows, columns))
    )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_not_finite_entry_loses_to_every_finite_one(form, bad):
    assignment = form(torch.tensor([[[bad, 3e38], [-3e38, bad]]]))
    assert assignment.column.tolist() == [[1, 0]]
    assert not assignment.not_finite.any()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_not_finite_target_is_matched_last_and_named(form, bad):
    cost = torch.tensor([[[1.0, bad, 5.0], [2.0, bad, 1.0], [0.0, bad, 9.0], [4.0, bad, 9.0]]])
    assignment = form(cost)
    assert (assignment.row.tolist(), assignment.column.tolist()) == ([[0, 1, 2]], [[1, 2, 0]])
    assert assignment.not_finite.tolist() == [[True, False, False]]


@pytest.mark.parametrize("form", FORMS)
def test_small_differences_count_beside_forced_and_huge_entries(form):
    forced = torch.tensor([[1.0, 2.0, NAN], [1.0, 3.0, NAN], [1e30, 1e30, NAN], [NAN, NAN, NAN]])
    unforced = torch.tensor([[1.0, 2.0, 1e30], [1.0, 3.0, 1e30], [1e30, 1e30, 0.0]])
    for cost, expected in ((forced[:3], [1, 0, 2]), (forced, [1, 0, 2]), (unforced, [1, 0, 2])):
        assert form(cost[None]).column.tolist() == [expected]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("dtype", "huge"), [(torch.float32, 3.4e38), (torch.float64, 1.7e308)])
def test_costs_near_the_largest_number_do_not_overflow(form, dtype, huge):
    signs = torch.randn(1, 30, 20, generator=torch.Generator().manual_seed(0)).sign().to(dtype)
    assignment = form(signs * huge)
    assert not assignment.not_finite.any()
    assert totals(signs, assignment) == totals(signs, form(signs))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", [(0, 3, 4), (2, 0, 4), (2, 3, 0), (0, 0, 0), (2, 0, 0)])
def test_empty_problems_have_no_pairs(form, shape):
    assignment = form(torch.zeros(shape))
    assert assignment.row.shape == (shape[0], min(shape[1:]))
    assert [len(index) for index in assignment.pairs()] == [0, 0, 0]


@pytest.mark.parametrize("form", FORMS)
def test_sizes_of_zero_leave_the_line_empty_and_the_others_as_they_are(form):
    cost = torch.tensor([[[3.0, 1.0], [1.0, 3.0]]]).repeat(3, 1, 1)
    assignment = form(cost, torch.tensor([2, 0, 2], dtype=torch.int32), torch.tensor([0, 2, 2], dtype=torch.uint8))
    assert assignment.row.tolist() == [[-1, -1], [-1, -1], [0, 1]]
    assert assignment.column.tolist() == [[-1, -1], [-1, -1], [1, 0]]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_any_strides_give_the_same_pairs(dtype):
    cost = torch.rand(3, 37, 21, generator=torch.Generator().manual_seed(0)).to(dtype)
    expected = linear_assignment(cost)
    base = torch.full((74, 3, 60), NAN, dtype=dtype)
    views = [cost.mT.contiguous().mT, cost.permute(2, 0, 1).contiguous().permute(1, 2, 0)]
    views.append(base[::2, :, 5:47:2].copy_(cost.transpose(0, 1)).transpose(0, 1))
    for view in views:
        assert all(map(torch.equal, linear_assignment(view), expected))
    expanded = cost[:1].expand(4, -1, -1)
    assert torch.equal(linear_assignment(expanded).column, expected.column[:1].expand(4, -1))


def test_transposed_problem_gives_the_transposed_pairs():
    cost = torch.rand(5, 19, 8, generator=torch.Generator().manual_seed(0))
    problem, row, column = linear_assignment(cost).pairs()
    matched = set(zip(problem.tolist(), row.tolist(), column.tolist(), strict=True))
    problem, row, column = linear_assignment(cost.mT).pairs()
    assert matched == set(zip(problem.tolist(), column.tolist(), row.tolist(), strict=True))


def test_threads_do_not_change_one_pair():
    cost = with_gaps(torch.rand(40, 60, 30, generator=torch.Generator().manual_seed(0)).mul(9).floor(), 0.5)
    cost[::2, :, :3] = NAN
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = linear_assignment(cost)
        torch.set_num_threads(2)
        together = linear_assignment(cost)
    finally:
        torch.set_num_threads(threads)
    assert alone.not_finite.any()
    assert all(map(torch.equal, alone, together))


@compiled
def test_interpreter_lock_is_free_while_the_kernel_runs():
    cost, size = torch.rand(2, 300, 300), torch.full((2,), 300)
    ready, seen, interval = threading.Event(), [], sys.getswitchinterval()
    other = threading.Thread(target=lambda: (ready.wait(), seen.append(True)))
    other.start()
    sys.setswitchinterval(1000)  # nobody is made to give the lock away
    try:
        ready.set()
        for _ in range(100):  # the other thread takes its time on a busy machine
            if not seen:
                torch.ops.detassign.linear_assignment(cost, size, size)
        assert seen
    finally:
        sys.setswitchinterval(interval)
        other.join()


@pytest.mark.parametrize("form", FORMS)
def test_no_gradient_flows_and_autocast_changes_nothing(form):
    cost = torch.rand(2, 5, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        assignment = form(cost)
    assert not any(value.requires_grad for value in assignment)
    assert all(map(torch.equal, assignment, form(cost.detach())))


@compiled
@pytest.mark.parametrize("shape", [(2, 5, 3), (2, 3, 5), (0, 3, 3), (2, 0, 3)])
def test_opcheck_finds_nothing(shape):
    B, N, M = shape
    arguments = (torch.rand(shape).requires_grad_(), torch.full((B,), N), torch.full((B,), M // 2))
    results = torch.library.opcheck(torch.ops.detassign.linear_assignment.default, arguments)
    assert set(results.values()) == {"SUCCESS"}


@compiled
@pytest.mark.parametrize("dynamic", [False, True])
def test_compiles_without_a_graph_break(dynamic):
    function = torch.compile(
        lambda cost, rows: linear_assignment(cost * 2, rows), fullgraph=True, backend="aot_eager", dynamic=dynamic
    )
    for shape in ((2, 6, 4), (3, 4, 7)):
        cost, rows = torch.rand(shape, generator=torch.Generator().manual_seed(0)), torch.arange(shape[0]) + 1
        assert all(map(torch.equal, function(cost, rows), linear_assignment(cost, rows)))


@compiled
def test_meta_tensors_give_the_shape():
    assignment = linear_assignment(torch.ones(2, 6, 4, device="meta"), torch.tensor([1, 2]))
    assert {value.shape for value in assignment} == {(2, 4)}


@compiled
def test_vmap_says_what_to_do_instead():
    with pytest.raises(RuntimeError, match="does not run under vmap: its first dimension is the batch"):
        torch.vmap(linear_assignment)(torch.ones(2, 1, 3, 3))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.ones(3, 4),), r"cost to be of shape \(B, N, M\) but got \(3, 4\)"),
        ((torch.ones(1, 3, 4).long(),), "cost to be floating point but got torch.int64"),
        ((torch.ones(2, 3, 4), torch.ones(3).long()), r"rows to be of shape \(2,\) but got \(3,\)"),
        ((torch.ones(2, 3, 4), None, torch.ones(2)), "columns to be integers but got torch.float32"),
        ((torch.ones(2, 3, 4), torch.tensor([3, 4])), r"rows to be within 0 to 3 but got \[3, 4\]"),
        ((torch.ones(2, 3, 4), None, torch.tensor([0, -1])), r"columns to be within 0 to 4 but got \[0, -1\]"),
    ],
    ids=["cost_shape", "cost_dtype", "sizes_shape", "sizes_dtype", "too_many", "negative"],
)
def test_bad_argument_is_named(form, arguments, message):
    with pytest.raises(ValueError, match=message):
        form(*arguments)


@compiled
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.ones(3, 4), torch.ones(3).long(), torch.ones(3).long()), "got 2 dimensions"),
        ((torch.ones(1, 3, 4), torch.ones(2).long(), torch.ones(1).long()), r"rows as int64 of shape \(1,\)"),
        ((torch.ones(1, 3, 4), torch.ones(1).long(), torch.ones(1).int()), r"columns as int64 of shape \(1,\)"),
        ((torch.ones(1, 3, 4), torch.tensor([4]), torch.tensor([4])), "rows within 0 to 3 .* problem 0 has 4 and 4"),
        ((torch.ones(1, 3, 4), torch.tensor([3]), torch.tensor([-1])), "problem 0 has 3 and -1"),
        ((torch.ones(1, 3, 4).long(), torch.tensor([3]), torch.tensor([4])), "not implemented for 'Long'"),
    ],
    ids=["cost_shape", "sizes_shape", "sizes_dtype", "too_many", "negative", "cost_dtype"],
)
def test_raw_op_refuses_what_would_read_outside_memory(arguments, message):
    with pytest.raises(RuntimeError, match=message):
        torch.ops.detassign.linear_assignment(*arguments)


def test_reference_serves_where_the_extension_is_missing():
    code = "import sys, torch; sys.modules['detassign.ops._C'] = None\n"
    code += "from detassign.ops import linear_assignment\n"
    code += "print(linear_assignment(torch.tensor([[[3.0, 1.0], [float('nan'), 2.0]]])).column.tolist())"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[[0, 1]]\n"
    )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", cases("detr/components", "matcher_*"))
def test_golden_matchers_of_the_detr_family(form, case):
    for name, about in case.sidecar["cases"].items():
        costs = case.levels(f"{name}/cost")
        columns = torch.tensor([cost.shape[1] for cost in costs])
        padded = torch.full((len(costs), costs[0].shape[0], int(columns.max())), NAN)
        for line, cost in zip(padded, costs, strict=True):
            line[:, : cost.shape[1]] = cost
        assignment = form(padded, columns=columns)
        for b, total in enumerate(totals(padded, assignment)):
            np.testing.assert_allclose(total, case.arrays[f"{name}/assigned_cost/{b}"], rtol=1e-6, atol=1e-6)
            recorded = case.tensor(f"{name}/index_pred/{b}").tolist(), case.tensor(f"{name}/index_gt/{b}").tolist()
            assert pairs_of(assignment, b) == recorded or not about["indices_stable"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("case", "name"), recorded_assigners("HungarianAssigner"))
def test_golden_hungarian_assigners(form, case, name):
    target = torch.zeros(case.tensor(f"out/{name}/gt_inds").shape, dtype=torch.long)
    if f"out/{name}/cost" in case:  # none is recorded where there is no target
        _, row, column = form(case.tensor(f"out/{name}/cost")[None]).pairs()
        target[row] = column + 1
    case.check(f"out/{name}/gt_inds", target)
