"""What a GPU would refuse of the ops written in torch, seen on a stand-in for one."""

import pytest
import torch
from mmcv.ops import MaskedConv2d, carafe, deform_roi_pool, modulated_deform_conv2d, roi_align

from detassign.bench.stand_in import GPU, put_on, stand_in

REGIONS = torch.tensor([[0.0, 1, 1, 9, 8], [1, -3, 2, 20, 5]])
SIZES = {"carafe": [(2, 4, 3, 5), (2, 18, 6, 10)], "deformable pooling": [(2, 3, 9, 11), (2, 2, 2, 2)]}
SIZES |= {
    "modulated convolution": [(2, 4, 5, 6), (2, 18, 7, 8), (2, 9, 7, 8), (3, 4, 3, 3)],
    "pooling": [(2, 3, 9, 11)],
}
OPS = {
    "carafe": lambda regions, features, masks: carafe(features, masks, 3, 2, 2),
    "deformable pooling": lambda regions, maps, offset: deform_roi_pool(maps, regions, offset, (2, 2), 0.5),
    "modulated convolution": lambda regions, *leaves: modulated_deform_conv2d(*leaves, None, 1, 1),
    "pooling": lambda regions, maps: roi_align(maps, regions, (2, 2)),
}


def run(name, leaves, regions):
    leaves = [leaf.detach().requires_grad_() for leaf in leaves]
    output = OPS[name](regions, *leaves)
    output.sum().backward()
    return [output, *(leaf.grad for leaf in leaves)]


@pytest.mark.parametrize("name", OPS)
def test_results_and_gradients_are_those_of_the_host(name):
    generator = torch.Generator().manual_seed(0)
    leaves = [torch.randn(size, generator=generator) for size in SIZES[name]]
    expected = run(name, leaves, REGIONS)
    with stand_in() as record:
        found = run(name, [leaf.to(GPU) for leaf in leaves], REGIONS.to(GPU))
        assert record.mixed == {}
        torch.testing.assert_close([tensor.host for tensor in found], expected)


def test_masked_convolution_takes_its_places_from_the_device():
    layer, maps, mask = MaskedConv2d(3, 4, 3, padding=1), torch.rand(1, 3, 5, 6), torch.rand(1, 5, 6).round()
    with torch.no_grad(), stand_in() as record:
        expected = layer(maps, mask)
        found = put_on(layer)(maps.to(GPU), mask.to(GPU))
        assert record.mixed == {}
        torch.testing.assert_close(found.host, expected)
