"""Deformable convolution's forms agree."""

import torch

from detassign.bench import deformable


def test_the_sampled_convolution_is_the_deformable_one():
    """Result and gradients, on equal random numbers."""
    found = []
    for form in ("deformable", "sampled"):
        torch.manual_seed(0)
        found.append(deformable.prepare((4, 7, 9), form)())
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-4)


def test_the_plain_convolution_has_the_same_shapes():
    """So that its time is the price of the offsets."""
    plain, sampled = (deformable.prepare((4, 7, 9), form)() for form in ("plain", "sampled"))
    assert [tensor.shape for tensor in plain] == [tensor.shape for tensor in sampled[:3]]
