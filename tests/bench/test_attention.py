"""The attention that is measured: its shapes, its locations, its two forms."""

import pytest
import torch

from detassign.bench import attention
from detassign.bench.comparison import BOTH, FORWARD

SMALL = attention.Case("small", ((5, 6), (2, 3)), queries=7, images=2)


def test_cases_have_the_shapes_of_their_detectors():
    """Arguments fit the op, weights sum to one, batch 1 and 2 of each detector are there."""
    for case in attention.CASES:
        value, shapes, starts, locations, weights = case.inputs()
        assert value.shape == (case.images, int(shapes.prod(1).sum()), 8, 32)
        assert starts.tolist() == [0, *shapes.prod(1).cumsum(0)[:-1].tolist()]
        assert locations.shape == (case.images, case.queries, 8, len(shapes), 4, 2)
        torch.testing.assert_close(weights.sum((-1, -2)), torch.ones(case.images, case.queries, 8))
    assert {case.queries for case in attention.CASES} == {300, 900, 1100, 17821}
    assert {case.images for case in attention.CASES} == {1, 2}


def test_model_like_locations_lie_near_their_own_cell():
    """A query per cell samples a few cells around its own."""
    _, shapes, _, locations, _ = attention.Case("small", ((20, 30), (10, 15)), 20 * 30 + 10 * 15).inputs()
    own = torch.tensor([0.5 / 30, 0.5 / 20])
    cells = (locations[0, 0, :, 0] - own) * shapes[0].flip(0)
    assert cells.abs().mean() < 3


@pytest.mark.parametrize("pass_", [FORWARD, BOTH])
def test_kernel_and_reference_are_given_the_same_work(pass_):
    """Results and gradients agree on equal random numbers."""
    found = []
    for form in ("kernel", "reference"):
        torch.manual_seed(0)
        found.append(attention.prepare(SMALL, pass_, form)())
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-4)


def test_half_precision_stands_beside_plain_torch_and_beside_float32():
    """Values alone are narrow, and every closer case meets both peers."""
    value, _, _, locations, weights = SMALL.inputs("bfloat16")
    assert (value.dtype, locations.dtype, weights.dtype) == (torch.bfloat16, torch.float32, torch.float32)
    listed = list(attention.comparisons("bfloat16"))
    assert {one.peer for one in listed} == {"torch grid_sample", "itself in float32"}
    assert len(listed) == 4 * len(attention.CLOSER)


def test_needs_are_those_of_the_arguments():
    """Half precision moves fewer bytes for the same arithmetic, and a backward more of both."""
    wide, narrow = (attention.attention_needs(SMALL, FORWARD, dtype, "cpu") for dtype in ("float32", "bfloat16"))
    both = attention.attention_needs(SMALL, BOTH, "float32", "cpu")
    assert narrow.moved_bytes < wide.moved_bytes < both.moved_bytes
    assert narrow.multiply_adds == wide.multiply_adds == both.multiply_adds / 3
