"""A kernel without forward mode refuses tangents instead of dropping them."""

import pytest
import torch
from torch.autograd import forward_ad

from detassign.ops import (
    deform_conv2d,
    deform_conv2d_reference,
    dropout,
    dropout_reference,
    extension_status,
    ms_deform_attn,
    portable_ops,
    sample_maps,
    sample_maps_reference,
)

SHAPES, STARTS = torch.tensor([[2, 3]]), torch.tensor([0])


def attend(value, locations, weights):
    return ms_deform_attn(value, SHAPES, STARTS, locations, weights)


def attend_in_gathers(*tensors):
    with portable_ops():
        return attend(*tensors)


def convolve_masked(input, offset, weight, mask):
    return deform_conv2d(input, offset, weight, mask=mask)


def convolve_masked_reference(input, offset, weight, mask):
    return deform_conv2d_reference(input, offset, weight, mask=mask)


def drop(x):
    return dropout(x, 0.3, 1)


def drop_reference(x):
    return dropout_reference(x, 0.3, 1)


OPS = {  # the op, what its sentence names in its place, and the shapes of what it is differentiated by
    "deform_conv2d": (
        convolve_masked,
        convolve_masked_reference,
        "deform_conv2d_reference has one",
        ((1, 2, 3, 3), (1, 2, 3, 3), (2, 2, 1, 1), (1, 1, 3, 3)),
    ),
    "dropout": (drop, drop_reference, "dropout_reference has one", ((4, 5),)),
    "sample_maps": (
        sample_maps,
        sample_maps_reference,
        "sample_maps_reference has one",
        ((1, 2, 3, 3), (1, 2, 2, 3, 3)),
    ),
    "ms_deform_attn": (
        attend,
        attend_in_gathers,
        r"ms_deform_attn within portable_ops\(\), without level_shapes, has one",
        ((1, 6, 1, 4), (1, 5, 1, 1, 2, 2), (1, 5, 1, 1, 2)),
    ),
}

pytestmark = pytest.mark.skipif(
    not extension_status()["cpu"].loaded, reason=f"the compiled op is not loaded: {extension_status()['cpu'].error}"
)


def arguments(name):
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(shape, generator=generator, dtype=torch.float64) * 0.8 + 0.1 for shape in OPS[name][3]]


def refused(name):
    return pytest.raises(RuntimeError, match=f"{name} has no forward-mode derivative .*; {OPS[name][2]}")


@pytest.mark.parametrize("transform", [torch.func.jacfwd, "jvp", "dual level", "dual level without gradients"])
@pytest.mark.parametrize("name", OPS)
def test_a_tangent_of_any_argument_is_refused(name, transform):
    op, tensors = OPS[name][0], arguments(name)
    for place, tensor in enumerate(tensors):
        of_one = lambda one: op(*tensors[:place], one, *tensors[place + 1 :])  # noqa: B023, E731
        if transform == "jvp":
            with refused(name):
                torch.func.jvp(of_one, (tensor,), (torch.ones_like(tensor),))
        elif callable(transform):
            with refused(name):
                transform(of_one)(tensor)
        else:
            with torch.set_grad_enabled("without" not in transform), forward_ad.dual_level(), refused(name):
                of_one(forward_ad.make_dual(tensor, torch.ones_like(tensor)))


@pytest.mark.parametrize("name", OPS)
def test_a_tangent_of_the_upstream_gradient_is_refused(name):
    tensors = [tensor.requires_grad_() for tensor in arguments(name)]
    output = OPS[name][0](*tensors)
    upstream = torch.ones_like(output)
    with forward_ad.dual_level(), refused(name):
        torch.autograd.grad(output, tensors, forward_ad.make_dual(upstream, upstream))


@pytest.mark.parametrize("name", OPS)
def test_what_has_no_tangent_runs_in_a_dual_level(name):
    tensors = arguments(name)
    expected = OPS[name][0](*tensors)
    with forward_ad.dual_level():
        assert torch.equal(OPS[name][0](*tensors), expected)


@pytest.mark.parametrize("name", OPS)
def test_what_the_sentence_names_has_every_derivative(name):
    instead = OPS[name][1]
    tensors = [tensor.requires_grad_() for tensor in arguments(name)]
    assert torch.autograd.gradcheck(instead, tensors, check_forward_ad=True, fast_mode=True)
    assert torch.autograd.gradgradcheck(instead, tensors, fast_mode=True)
