"""Deformable convolution's forms agree."""

import pytest
import torch

from detassign.bench import deformable


@pytest.mark.parametrize("form", ["torchvision", "sampled"])
def test_the_peers_do_what_the_kernel_does(form):
    """Result and gradients, on equal random numbers."""
    found = []
    for one in ("kernel", form):
        torch.manual_seed(0)
        found.append(deformable.prepare((2, 4, 7, 9), one)())
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-4)


def test_the_plain_convolution_has_the_same_shapes():
    """So that its time is the price of the offsets."""
    plain, sampled = (deformable.prepare((2, 4, 7, 9), form)() for form in ("plain", "sampled"))
    assert [tensor.shape for tensor in plain] == [tensor.shape for tensor in sampled[:3]]


def test_on_a_gpu_the_op_is_not_compared_with_itself():
    """There torchvision's operator serves it."""
    assert {one.peer for one in deformable.comparisons("cuda")} == {"grid_sample and matmul", "plain conv2d"}
