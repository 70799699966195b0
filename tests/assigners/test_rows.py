import pytest
import torch

from detassign.assigners import rows
from detassign.assigners.rows import Rows


def squared(values, start_and_stop):
    """Sums of squares, and their derivatives."""
    return values.square().sum(-1), 2 * values


def tensors():
    generator = torch.Generator().manual_seed(0)
    shapes = ((2, 5, 3), (2, 5, 1))
    return tuple(torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_() for shape in shapes)


def product_of(inputs):
    return Rows(lambda wide, narrow: (wide * narrow).exp(), inputs)


@pytest.fixture(params=[1, 4, 2**17])
def numbers_at_once(request, monkeypatch):
    monkeypatch.setattr(rows, "IN_CACHE", request.param)


@pytest.mark.usefixtures("numbers_at_once")
def test_sums_and_gradients_of_pieces_are_those_of_the_whole():
    found, wanted = tensors(), tensors()
    weight = torch.arange(10.0, dtype=torch.float64).view(2, 5)
    sums = product_of(found).summed(squared)
    whole = product_of(wanted).whole().square().sum(-1)
    torch.testing.assert_close(sums, whole)
    (sums * weight).sum().backward()
    (whole * weight).sum().backward()
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_a_gradient_may_be_asked_for_twice():
    inputs = tensors()
    total = product_of(inputs).summed(squared).sum()
    first = torch.autograd.grad(total, inputs, retain_graph=True)
    assert all(map(torch.equal, first, torch.autograd.grad(total, inputs)))


def test_a_part_knows_its_shape_and_its_rows():
    made = product_of(tensors())
    assert made.shape == made.whole().shape == (2, 5, 3)
    image, sample = torch.tensor([1, 0]), torch.tensor([4, 0])
    assert torch.equal(made.at(image, sample), made.whole()[image, sample])


def test_what_is_no_number_is_seen_in_its_row_alone():
    wide, narrow = (values.detach().clone() for values in tensors())
    wide[0, 1, 2] = torch.nan
    assert product_of((wide, narrow)).summed(squared).isnan().nonzero().tolist() == [[0, 1]]
