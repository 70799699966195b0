import math

import pytest
import torch

from detassign.assigners.matching.mixture import LOOKS, MAX_ITERATIONS, fit_two_gaussians
from detassign.bench.stand_in import GPU, stand_in


def everything(values):
    return torch.ones(len(values), values.shape[1], dtype=torch.bool)


def test_a_mixture_of_two_points_has_a_component_at_each_after_one_look():
    """Start: means 0 and 10, variances 1: the shares are 1 and 0 up to exp(-50)."""
    values = torch.tensor([[0.0, 10.0]], dtype=torch.float64)
    mixture = fit_two_gaussians(values, everything(values))
    torch.testing.assert_close(mixture.means, values, rtol=0, atol=1e-12)
    torch.testing.assert_close(mixture.variances, torch.full_like(values, 1e-6), rtol=1e-6, atol=0)
    assert mixture.component.tolist() == [[0, 1]]
    at_mean = math.log(0.5) - 0.5 * math.log(2 * math.pi * 1e-6)
    torch.testing.assert_close(mixture.log_density, torch.full_like(values, at_mean), rtol=1e-6, atol=0)
    assert mixture.iterations.tolist() == [3]  # the likelihood changes with the first step, and no more with the second


def test_rows_are_fitted_as_if_each_were_alone_and_unusable_numbers_as_if_they_were_not_there():
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(6, 12, generator=generator, dtype=torch.float64).sort(-1).values * 3
    usable = torch.arange(12) < torch.tensor([12, 9, 5, 2, 1, 7])[:, None]
    together = fit_two_gaussians(values.masked_fill(~usable, 99.0), usable)
    for row, count in enumerate(usable.sum(-1).tolist()):
        alone = fit_two_gaussians(values[row : row + 1, :count], torch.ones(1, count, dtype=torch.bool))
        torch.testing.assert_close(together.means[row], alone.means[0], rtol=0, atol=1e-12)
        torch.testing.assert_close(together.variances[row], alone.variances[0], rtol=0, atol=1e-12)
        assert together.component[row, :count].tolist() == alone.component[0].tolist()
        assert together.iterations[row] == alone.iterations[0]


def test_a_row_without_numbers_is_finite_and_costs_no_iteration():
    mixture = fit_two_gaussians(torch.full((2, 3), torch.nan), torch.zeros(2, 3, dtype=torch.bool))
    assert mixture.iterations.tolist() == [0, 0]
    assert mixture.log_density.isfinite().all()


def test_equal_numbers_have_one_component():
    values = torch.full((1, 9), 2.5, dtype=torch.float64)
    mixture = fit_two_gaussians(values, everything(values))
    assert mixture.component.unique().numel() == 1
    assert mixture.log_density.isfinite().all()


@pytest.mark.parametrize("seed", range(3))
def test_the_fit_is_where_expectation_maximisation_stands_still_or_ends(seed):
    generator = torch.Generator().manual_seed(seed)
    ends = torch.tensor([1.0, 4.0]) + 0.3 * torch.randn(20, 2, generator=generator)
    values = ends.flatten()[None].double()
    mixture = fit_two_gaussians(values, everything(values))
    assert 1 < mixture.iterations < MAX_ITERATIONS
    for component in (0, 1):
        own = values[0][mixture.component[0] == component]
        assert mixture.means[0, component].item() == pytest.approx(own.mean().item(), abs=1e-2)
        assert mixture.weights[0, component].item() == pytest.approx(0.5, abs=1e-2)


def test_a_gpu_is_asked_now_and_then_and_finds_the_same():
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(30, 45, generator=generator, dtype=torch.float64) * 3
    wanted = fit_two_gaussians(values, everything(values))
    with stand_in() as record:
        far = values.to(GPU, non_blocking=True)
        found = fit_two_gaussians(far, torch.ones_like(far, dtype=torch.bool))
    assert sum(record.waits.values()) == sum(look < wanted.iterations.max() for look in LOOKS) + 1
    assert torch.equal(found.means.host, wanted.means)
    assert torch.equal(found.iterations.host, wanted.iterations)
