import pytest
import torch

from detassign.assigners import Exponential, MeanMax

LIKELIHOOD = torch.tensor([0.2, 0.6, 0.9])
BAG = torch.tensor([0, 0, 2])  # of three bags the second is empty


def aggregated(aggregator, likelihood=LIKELIHOOD, prior=None, bag=BAG, bags=3):
    prior = torch.ones_like(likelihood) if prior is None else prior
    return aggregator(likelihood.log(), prior, bag, bags)


def test_mean_max_is_one_less_the_harmonic_mean_of_failures():
    negative_log, _ = aggregated(MeanMax())
    harmonic = 2 / (1 / 0.8 + 1 / 0.4)
    torch.testing.assert_close(torch.exp(-negative_log), torch.tensor([1 - harmonic, 1.0, 0.9]))


def test_mean_max_is_a_mean_of_small_likelihoods_and_the_largest_near_one():
    small, _ = aggregated(MeanMax(), torch.tensor([1e-6, 3e-6]), bag=torch.tensor([0, 0]), bags=1)
    near_one, _ = aggregated(MeanMax(), torch.tensor([0.1, 1 - 1e-6]), bag=torch.tensor([0, 0]), bags=1)
    torch.testing.assert_close(torch.exp(-small), torch.tensor([2e-6]), rtol=1e-4, atol=0)
    assert torch.exp(-near_one) > 1 - 1e-5


def test_mean_max_has_a_finite_gradient_at_a_likelihood_of_one():
    likelihood = torch.tensor([1.0, 0.5, 0.0]).log().clamp(min=-1e9).requires_grad_()
    negative_log, _ = MeanMax()(likelihood, torch.ones(3), torch.zeros(3, dtype=torch.long), 1)
    negative_log.sum().backward()
    assert negative_log >= 0
    assert likelihood.grad.isfinite().all()


def test_exponential_is_the_mean_under_its_weights_and_the_prior():
    prior = torch.tensor([1.0, 0.5, 0.1])
    negative_log, _ = aggregated(Exponential(3.0), prior=prior)
    weight = torch.exp(3 * LIKELIHOOD[:2]) * prior[:2]
    mean = (weight * LIKELIHOOD[:2]).sum() / weight.sum()
    torch.testing.assert_close(torch.exp(-negative_log), torch.stack([mean, torch.tensor(1.0), torch.tensor(0.9)]))


def test_a_prior_that_vanished_leaves_the_bag_a_plain_mean():
    negative_log, _ = aggregated(Exponential(0.0), prior=torch.zeros(3))
    torch.testing.assert_close(torch.exp(-negative_log), torch.tensor([0.4, 1.0, 0.9]))


@pytest.mark.parametrize("aggregator", [Exponential(), MeanMax()], ids=str)
def test_likelihoods_far_below_what_floats_hold_still_have_a_gradient(aggregator):
    log_likelihood = torch.tensor([-500.0, -501.0], requires_grad=True)
    negative_log, _ = aggregator(log_likelihood, torch.ones(2), torch.tensor([0, 0]), 1)
    negative_log.sum().backward()
    assert 500 < negative_log < 501
    torch.testing.assert_close(log_likelihood.grad, -torch.tensor([1.0, -0.0]).softmax(0), rtol=1e-4, atol=0)
