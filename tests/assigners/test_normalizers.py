import pytest
import torch
from torch import distributed

from detassign.assigners import Assigner
from detassign.assigners.normalizers import SteadyNormalizers, mean_over_ranks, normalizers


def test_each_normalizer_has_its_own_floor():
    values = [torch.tensor(value) for value in (0.0, 7.0, 0.0)]
    assert normalizers(*values, floor=(1.0, 1.0, 0.25)).tolist() == [1.0, 7.0, 0.25]


def test_normalizers_carry_no_gradient():
    value = torch.tensor(3.0, requires_grad=True)
    assert not normalizers(value, value, value).requires_grad


@pytest.fixture
def two_ranks(monkeypatch):
    """A job of two processes whose other one always reports 1, 2 and 3; returns how often it was asked."""
    calls = []

    def all_reduce(value):
        calls.append(value.clone())
        value += torch.tensor([1.0, 2.0, 3.0])[: value.numel()].reshape(value.shape)

    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(distributed, "all_reduce", all_reduce)
    return calls


def test_normalizers_are_averaged_over_ranks_in_one_reduction_and_floored_after(two_ranks):
    got = normalizers(torch.tensor(0.0), torch.tensor(4.0), torch.tensor(5.0))
    assert got.tolist() == [1.0, 3.0, 4.0]
    assert len(two_ranks) == 1


def test_averaging_leaves_the_argument_alone(two_ranks):
    value = torch.tensor(5.0)
    assert mean_over_ranks(value) == 3
    assert value == 5


def test_steady_normalizers_stay_near_their_mean_where_a_batch_has_nothing():
    steady = SteadyNormalizers(share=0.5, momentum=0.9)
    usual = torch.tensor([8.0, 100.0, 4.0])
    for _ in range(5):
        assert torch.equal(steady(usual, learn=True), usual)
    torch.testing.assert_close(steady(torch.ones(3), learn=False), usual / 2)
    torch.testing.assert_close(steady(torch.ones(3, 2), learn=False), (usual / 2)[:, None].expand(3, 2))


def test_steady_normalizers_go_on_from_a_checkpoint():
    steady, other = SteadyNormalizers(), SteadyNormalizers()
    steady(torch.tensor([8.0, 100.0, 4.0]), learn=True)
    other.load_state_dict(steady.state_dict())
    assert torch.equal(other(torch.ones(3), learn=False), steady(torch.ones(3), learn=False))


@pytest.mark.parametrize("share", [-1.0, 1.5])
def test_a_share_beyond_the_mean_is_refused(share):
    with pytest.raises(ValueError, match="steady: expected a share from 0 to 1"):
        Assigner("max_iou", "focal", steady=share)
