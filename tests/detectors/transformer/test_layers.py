"""Feed-forward networks: in place both ways, and the same as torch's."""

import pytest
import torch

from detassign.detectors.transformer.layers import FeedForward


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_feed_forward_has_the_values_and_gradients_of_its_formula(dropout):
    """Overwriting the hidden layer and its gradient shows nowhere."""
    network = FeedForward(4, 16, dropout=dropout).double()
    x = torch.randn(2, 5, 4, dtype=torch.float64, requires_grad=True)
    direction = torch.randn(2, 5, 4, dtype=torch.float64)
    inputs = [x, *network.parameters()]
    torch.manual_seed(3)
    found = network(x)
    torch.manual_seed(3)
    expected = network.linear2(network.dropout(torch.relu(network.linear1(x).flatten(0, 1)))).view_as(x)
    torch.testing.assert_close(found, expected)
    for own, other in zip(*(torch.autograd.grad(y, inputs, direction) for y in (found, expected)), strict=True):
        torch.testing.assert_close(own, other)


def test_the_gradient_given_to_the_network_is_left_alone():
    """Only the hidden layer's own gradient is written over."""
    network, direction = FeedForward(4, 16), torch.randn(3, 4)
    before = direction.clone()
    network(torch.randn(3, 4)).backward(direction)
    assert torch.equal(direction, before)
