import pytest
import torch

from detassign.assigners.matching.sinkhorn import sinkhorn


def plain(cost, supply, demand, eps, iterations):
    """Sinkhorn's iterations on a full matrix, suppliers in rows, by products and not by logs."""
    kernel = torch.exp(-cost / eps)
    row = torch.full_like(supply, 1.0).mul(torch.exp(torch.tensor(1 / eps, dtype=supply.dtype)))
    for _ in range(iterations):
        column = (demand + 1e-8) / (kernel.t() @ row)
        row = (supply + 1e-8) / (kernel @ column)
    return row[:, None] * kernel * column


def problem(seed=0, targets=3, samples=12):
    generator = torch.Generator().manual_seed(seed)
    cost = torch.rand(targets + 1, samples, generator=generator, dtype=torch.float64)
    allowed = torch.rand(targets, samples, generator=generator) < 0.5
    return cost, allowed, torch.tensor([[2, 1, 3]])


@pytest.mark.parametrize("iterations", [1, 5, 50])
def test_candidates_alone_give_what_the_full_matrix_gives(iterations):
    cost, allowed, supply = problem()
    row, slot = allowed.nonzero(as_tuple=True)
    valid = torch.ones(1, 12, dtype=torch.bool)
    sent, kept = sinkhorn(cost[:-1][allowed], slot, row, cost[-1:], supply, valid, 0.1, iterations)

    full = cost.clone()
    full[:-1][~allowed] = torch.inf
    suppliers = torch.cat([supply[0], (12 - supply.sum())[None]]).double()
    wanted = plain(full, suppliers, torch.ones(12, dtype=torch.float64), 0.1, iterations)
    torch.testing.assert_close(sent.exp(), wanted[:-1][allowed])
    torch.testing.assert_close(kept.exp(), wanted[-1:])


def test_supplies_and_demands_are_met_in_the_end():
    cost, allowed, supply = problem(1)
    row, slot = allowed.nonzero(as_tuple=True)
    valid = torch.ones(1, 12, dtype=torch.bool)
    sent, kept = sinkhorn(cost[:-1][allowed], slot, row, cost[-1:], supply, valid, 0.1, 2000)
    rows = torch.zeros(3, dtype=torch.float64).index_add_(0, row, sent.exp())
    columns = kept.exp()[0].index_add(0, slot, sent.exp())
    torch.testing.assert_close(rows, supply[0].double(), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(columns, torch.ones(12, dtype=torch.float64), rtol=1e-6, atol=1e-6)


def test_images_are_solved_each_by_itself():
    both = [problem(seed) for seed in (2, 3)]
    alone = []
    for cost, allowed, supply in both:
        row, slot = allowed.nonzero(as_tuple=True)
        valid = torch.ones(1, 12, dtype=torch.bool)
        alone.append(sinkhorn(cost[:-1][allowed], slot, row, cost[-1:], supply, valid))
    rows, slots, costs = [], [], []
    for image, (cost, allowed, _) in enumerate(both):
        row, slot = allowed.nonzero(as_tuple=True)
        rows.append(row + 3 * image), slots.append(slot + 12 * image), costs.append(cost[:-1][allowed])
    sent, kept = sinkhorn(
        torch.cat(costs),
        torch.cat(slots),
        torch.cat(rows),
        torch.cat([cost[-1:] for cost, *_ in both]),
        torch.cat([supply for *_, supply in both]),
        torch.ones(2, 12, dtype=torch.bool),
    )
    torch.testing.assert_close(sent, torch.cat([each[0] for each in alone]))
    torch.testing.assert_close(kept, torch.cat([each[1] for each in alone]))


def test_invalid_samples_take_nothing_and_too_much_supply_is_defined():
    valid = torch.tensor([[True, False, True]])
    index = torch.tensor([0, 2])
    sent, kept = sinkhorn(
        torch.tensor([0.1, 0.2]), index, torch.zeros(2, dtype=torch.long), torch.zeros(1, 3), torch.tensor([[9]]), valid
    )
    assert sent.isfinite().all()
    assert kept[0, 1] == -torch.inf
    assert kept[0, valid[0]].isfinite().all()
    nobody = torch.zeros(1, 3, dtype=torch.bool)
    empty = torch.zeros(0, dtype=torch.long)
    sent, _ = sinkhorn(torch.zeros(0), empty, empty, torch.zeros(1, 3), torch.zeros(1, 0, dtype=torch.long), nobody)
    assert len(sent) == 0


def test_a_pair_of_infinite_cost_is_as_one_that_is_not_there():
    cost, allowed, supply = problem(4)
    row, slot = torch.ones_like(allowed).nonzero(as_tuple=True)
    allowed[1] = False  # a target that sends nothing at all
    priced = cost[:-1].masked_fill(~allowed, torch.inf)[row, slot]
    valid, finite = torch.ones(1, 12, dtype=torch.bool), priced.isfinite()
    sent, kept = sinkhorn(priced, slot, row, cost[-1:], supply, valid)
    wanted, left = sinkhorn(priced[finite], slot[finite], row[finite], cost[-1:], supply, valid)
    assert torch.equal(sent[finite], wanted)
    assert torch.equal(kept, left)
    assert (sent[~finite] == -torch.inf).all()
