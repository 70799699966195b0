"""Dropout with quick draws: the same law as torch's."""

import warnings

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.checkpoint import checkpoint

from detassign.detectors.transformer.attention import attend
from detassign.detectors.transformer.dropout import Dropout, drop


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_the_share_dropped_and_the_mean_are_right(probability):
    """Six deviations of a binomial are enough for any seed."""
    torch.manual_seed(0)
    dropped = drop(torch.ones(401, 503), probability)
    share = (dropped == 0).double().mean().item()
    deviation = (probability * (1 - probability) / dropped.numel()) ** 0.5
    assert abs(share - probability) < 6 * deviation + 1 / 65536
    assert dropped.unique().tolist() == pytest.approx([0, 1 / (1 - probability)], rel=2e-4)


def test_the_four_lanes_of_a_draw_are_independent_and_alike():
    """Each lane drops its share, and neighbours agree no more often than chance."""
    torch.manual_seed(0)
    kept = (drop(torch.ones(4 * 50_000), 0.5) > 0).double().view(-1, 4)
    correlation = torch.corrcoef(kept.T)
    assert (kept.mean(0) - 0.5).abs().max() < 6 * (0.25 / 50_000) ** 0.5
    assert (correlation - torch.eye(4)).abs().max() < 6 / 50_000**0.5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_gradients_go_where_values_went(dtype):
    """What was zeroed gets no gradient, the rest its scale; one seed gives one answer."""
    x = torch.ones(3, 5, 7, dtype=dtype, requires_grad=True)
    torch.manual_seed(1)
    dropped = drop(x, 0.3)
    dropped.sum().backward()
    assert dropped.dtype == dtype
    assert torch.equal(x.grad, dropped.detach())
    torch.manual_seed(1)
    assert torch.equal(drop(x, 0.3), dropped)


def test_nothing_is_dropped_outside_training_and_all_at_one():
    """The module follows its mode; a probability of one leaves zeros."""
    module, x = Dropout(0.4), torch.randn(6)
    assert module.eval()(x) is x
    assert Dropout(0.0)(x) is x
    assert torch.equal(drop(x, 1.0), torch.zeros(6))
    assert drop(torch.zeros(0, 3), 0.5).shape == (0, 3)


def test_a_traced_module_draws_at_every_call():
    """A trace that held the seed would zero the same entries for ever."""
    x = torch.ones(50, 60)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of TorchScript
        traced = torch.jit.trace(Dropout(0.5), x, check_trace=False)
    assert not torch.equal(traced(x), traced(x))


def test_fake_tensors_have_no_number_to_read():
    with FakeTensorMode():
        assert Dropout(0.5)(torch.ones(3, 4)).shape == (3, 4)


def test_draws_are_the_hosts_whatever_the_default_device_is():
    x = torch.ones(3, 4)
    with torch.device("meta"):
        assert drop(x, 0.5).device.type == "cpu"


def test_checkpointed_activations_are_dropped_the_same_way_again():
    x = torch.randn(30, 40, requires_grad=True)

    def gradient(run):
        torch.manual_seed(3)
        return torch.autograd.grad(run(lambda x: Dropout(0.3)(x).square()).sum(), x)[0]

    assert torch.equal(gradient(lambda form: checkpoint(form, x, use_reentrant=False)), gradient(lambda form: form(x)))


def test_attention_with_dropout_is_attention_on_average():
    """Many draws average to the answer without dropout, masked keys left out."""
    torch.manual_seed(0)
    query, key, value = torch.randn(1, 3, 8), torch.randn(1, 5, 8), torch.randn(1, 5, 4)
    allowed = torch.tensor([True, True, False, True, True])[None, None, None]
    batch = [x.expand(20_000, -1, -1) for x in (query, key, value)]
    mean = attend(*batch, heads=2, allowed=allowed, dropout=0.2).mean(0)
    expected = attend(query, key, value, heads=2, allowed=allowed, dropout=0.0)[0]
    torch.testing.assert_close(mean, expected, rtol=0, atol=0.03)
