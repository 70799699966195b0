"""Attention in two parts: the same as under one mask."""

import pytest
import torch

from detassign.detectors.transformer.attention import InFront, attend


@pytest.mark.parametrize("count", [1, 4])
def test_denoising_rows_alone_say_what_the_whole_mask_says(count):
    """The other queries see each other and no denoising query, with gradients to match."""
    torch.manual_seed(0)
    whole = torch.ones(9, 9, dtype=torch.bool)
    whole[:count, :count] = torch.eye(count, dtype=torch.bool)
    whole[count:, :count] = False
    inputs = [torch.randn(2, 9, 8, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    found = attend(*inputs, heads=2, allowed=InFront(whole[:count]), dropout=0.0)
    expected = attend(*inputs, heads=2, allowed=whole[None, None].expand(2, 1, 9, 9), dropout=0.0)
    torch.testing.assert_close(found, expected)
    direction = torch.randn_like(found)
    gradients = (torch.autograd.grad(output, inputs, direction) for output in (found, expected))
    for own, other in zip(*gradients, strict=True):
        torch.testing.assert_close(own, other)
