import pytest
import torch
from mmcv.ops import MaskedConv2d


def features(height: int, width: int, dtype=torch.float32) -> torch.Tensor:
    return torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(0)).to(dtype)


def mask(height: int, width: int) -> torch.Tensor:
    """(1, height, width): negative, zero and positive, of which positive counts."""
    return torch.randn(1, height, width, generator=torch.Generator().manual_seed(1)).round()


@pytest.mark.parametrize(
    ("kernel", "padding", "size"),
    [(1, 0, (5, 7)), (3, 1, (5, 7)), ((3, 5), (1, 2), (4, 9)), (3, 1, (1, 1)), (3, 2, (4, 5)), (5, 3, (2, 2))],
)
def test_it_is_the_convolution_where_the_mask_is_positive_and_zero_elsewhere(kernel, padding, size):
    layer = MaskedConv2d(3, 4, kernel, padding=padding)
    places = mask(*size)
    with torch.no_grad():
        output, everywhere = layer(features(*size), places), layer(features(*size))
    chosen = torch.zeros_like(everywhere)
    chosen[..., : size[0], : size[1]] = (places > 0).to(chosen)
    assert chosen.sum() > 0 or size == (1, 1)
    torch.testing.assert_close(output, everywhere * chosen)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_precisions_give_the_convolution_too(dtype):
    layer = MaskedConv2d(3, 4, 3, padding=1).to(dtype)
    places = mask(5, 7)
    with torch.no_grad():
        output, everywhere = layer(features(5, 7, dtype), places), layer(features(5, 7, dtype))
    assert output.dtype == dtype
    torch.testing.assert_close(output, everywhere * (places > 0))


def test_a_mask_without_places_gives_zeros():
    output = MaskedConv2d(3, 4, 3, padding=1)(features(5, 7), torch.zeros(1, 5, 7))
    assert torch.equal(output, torch.zeros(1, 4, 5, 7))


def test_places_outside_a_smaller_output_are_refused():
    layer = MaskedConv2d(3, 4, 3)
    with pytest.raises(ValueError, match="expected places within the output of 3 x 5, got one outside"):
        layer(features(5, 7), torch.ones(1, 5, 7))
    inner = torch.zeros(1, 5, 7)
    inner[:, 1, 2] = 1
    torch.testing.assert_close(layer(features(5, 7), inner)[..., 1, 2], layer(features(5, 7))[..., 1, 2])
