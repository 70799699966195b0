import numpy as np
import pytest

from detassign.data.patterns import PATTERNS, random_pattern


@pytest.mark.parametrize("pattern", [*PATTERNS, random_pattern], ids=lambda p: p.__name__)
@pytest.mark.parametrize("shape", [(1, 1), (3, 50), (160, 160)])
def test_pattern_fills_its_shape_with_values_between_0_and_1(pattern, shape):
    for seed in range(5):
        field = pattern(np.random.default_rng(seed), *shape)
        assert field.shape == shape
        assert field.dtype == np.float32
        assert field.min() >= 0
        assert field.max() <= 1


@pytest.mark.parametrize("pattern", PATTERNS[1:], ids=lambda p: p.__name__)
def test_pattern_varies_over_the_image(pattern):
    assert pattern(np.random.default_rng(0), 80, 80).std() > 0.02
