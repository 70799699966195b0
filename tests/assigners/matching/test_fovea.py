import pytest
from support.small import one_image, pairs, pyramid, samples_of

from detassign.assigners import Fovea

ROW = pyramid((1, 8, 8))  # points at 4, 12, … 60
TWO_LEVELS = pyramid((8, 8, 8), (4, 4, 16))


def test_points_in_the_shrunk_box_answer_sides_included():
    matches = Fovea(sigma=0.5)(ROW, one_image((4, 0, 36, 8, 0)))  # from 12 to 28
    assert samples_of(matches) == [1, 2, 3]


def test_the_smallest_object_takes_a_contested_point():
    large, small = (0, 0, 64, 8, 0), (16, 0, 40, 8, 1)
    for order in ([large, small], [small, large]):
        matches = Fovea(sigma=1.0)(ROW, one_image(*order))
        assert {sample for _, sample, target in pairs(matches) if order[target] == small} == {2, 3, 4}


def test_an_object_is_learned_on_every_level_whose_range_holds_it():
    matches = Fovea(sigma=1.0, ranges=[(1, 16), (16, 64)])(TWO_LEVELS, one_image((24, 24, 40, 40, 0)))  # of size 16
    assert {sample < 64 for sample in samples_of(matches)} == {True, False}
    narrow = Fovea(sigma=1.0, ranges=[(1, 15), (16, 64)])(
        TWO_LEVELS, one_image((24, 24, 40, 40, 0), (56, 56, 64, 64, 0))
    )
    assert all(sample >= 64 for sample in samples_of(narrow))


def test_an_object_beyond_the_outermost_points_takes_these():
    assert samples_of(Fovea()(ROW, one_image((-1, 0, 1, 8, 0)))) == [0]
    assert samples_of(Fovea()(ROW, one_image((62, 0, 64, 8, 0)))) == [7]


def test_an_object_between_points_has_none():
    assert not len(Fovea()(ROW, one_image((7, 0, 9, 8, 0))).sample)


def test_ranges_are_one_pair_per_level():
    with pytest.raises(ValueError, match="ranges: expected one pair per level \\(1\\), got 2"):
        Fovea(ranges=[(1, 2), (2, 3)])(ROW, one_image((0, 0, 8, 8, 0)))
