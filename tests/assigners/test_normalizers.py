import pytest
import torch
from torch import distributed

from detassign.assigners.normalizers import mean_over_ranks, normalizers


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
