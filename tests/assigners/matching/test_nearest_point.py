import pytest
import torch
from support.small import one_image, pairs, pyramid, samples_of

from detassign.assigners import NearestPoint

TWO_LEVELS = pyramid((4, 4, 8), (2, 2, 16))  # 16 samples, then 4


def test_an_object_takes_the_points_nearest_to_its_centre_on_its_level():
    small, large = (1, 1, 25, 25, 0), (0, 0, 64, 64, 1)  # 24 px are 3 strides of 8, 64 px four of 16
    matches = NearestPoint(k=1)(TWO_LEVELS, one_image(small, (2, 2, 62, 63, 1)))
    assert samples_of(matches, target=0) == [5]
    assert len(samples_of(NearestPoint(k=4)(TWO_LEVELS, one_image(large)))) == 4
    assert min(samples_of(NearestPoint(k=4)(TWO_LEVELS, one_image(large)))) == 16


def test_sizes_beyond_the_levels_take_the_first_or_the_last():
    tiny, huge = (1, 1, 3, 3, 0), (-500, -500, 560, 560, 1)
    matches = NearestPoint()(TWO_LEVELS, one_image(tiny, huge))
    assert samples_of(matches, target=0) == [0]
    assert samples_of(matches, target=1)[0] >= 16


def test_a_contested_point_goes_to_the_object_that_it_is_nearest_to():
    near, far = (0, 0, 9, 9, 0), (0, 0, 12, 12, 1)  # centres half a pixel and two pixels from 4, 4
    for order in ([near, far], [far, near]):
        matches = NearestPoint()(pyramid((2, 2, 8)), one_image(*order))
        assert {order[target][-1] for _, sample, target in pairs(matches) if sample == 0} == {0}


def test_an_object_without_area_takes_nothing():
    assert not len(NearestPoint()(TWO_LEVELS, one_image((4, 4, 4, 20, 0))).sample)


def test_queries_have_levels_by_their_strides():
    strides = torch.tensor([[8.0, 9.0, 16.0, 40.0]])
    points = torch.tensor([[[30.0, 30.0], [31.0, 31.0], [32.0, 32.0], [33.0, 33.0]]])
    queries = pyramid((2, 2, 8), points=points, strides=strides, level_sizes=None)
    assert samples_of(NearestPoint(k=2)(queries, one_image((16, 16, 48, 48, 0)))) == [0, 1]


def test_no_points_at_all_are_refused():
    with pytest.raises(ValueError, match="k:"):
        NearestPoint(k=0)
