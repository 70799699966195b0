import pytest
import torch
from support.small import one_image, pairs, pyramid, samples_of

from detassign.assigners import CenterSampling, Predictions

FCOS_STRIDES = (8, 16, 32, 64, 128)


def one_point_per_level():
    """A sample at (1000, 1000) on each of FCOS's five levels."""
    levels = len(FCOS_STRIDES)
    points = torch.full((levels, 2), 1000.0)
    return Predictions(
        torch.zeros(1, levels, 3),
        torch.zeros(1, levels, 4),
        None,
        points,
        torch.tensor(FCOS_STRIDES).float(),
        (1,) * levels,
    )


def square_around(half, label=0):
    return (1000 - half, 1000 - half, 1000 + half, 1000 + half, label)


@pytest.mark.parametrize(
    ("half", "levels"),
    [
        (1, [0]),
        (63, [0]),
        (64, [0, 1]),
        (65, [1]),
        (128, [1, 2]),
        (200, [2]),
        (256, [2, 3]),
        (300, [3]),
        (512, [3, 4]),
        (513, [4]),
        (900, [4]),
    ],
)
@pytest.mark.parametrize("ranges", [None, [(-1, 64), (64, 128), (128, 256), (256, 512), (512, 1e8)]])
def test_derived_ranges_are_those_of_fcos(half, levels, ranges):
    matches = CenterSampling(ranges=ranges)(one_point_per_level(), one_image(square_around(half)))
    assert samples_of(matches) == levels


def test_a_range_scale_of_four_halves_the_ranges():
    assert samples_of(CenterSampling(range_scale=4.0)(one_point_per_level(), one_image(square_around(40)))) == [1]


def test_the_largest_side_distance_decides_the_level():
    targets = one_image((1000 - 10, 1000 - 10, 1000 + 100, 1000 + 10, 0))
    assert samples_of(CenterSampling(radius=None)(one_point_per_level(), targets)) == [1]


def test_the_centre_region_reaches_one_and_a_half_strides_exclusively():
    """Points at 4, 12, …, 60; of those around the centre 32 only 28 and 36 are nearer than 12, 20 and 44 are not."""
    matches = CenterSampling()(pyramid((8, 8, 8)), one_image((8, 8, 56, 56, 0)))
    assert samples_of(matches) == [27, 28, 35, 36]


def test_without_centre_sampling_every_point_strictly_inside_counts():
    predictions = pyramid((8, 8, 8))
    assert len(samples_of(CenterSampling(radius=None)(predictions, one_image((8, 8, 56, 56, 0))))) == 36
    assert samples_of(CenterSampling(radius=None)(predictions, one_image((4, 4, 20, 12, 0)))) == []


def test_the_centre_region_never_leaves_the_box():
    assert samples_of(CenterSampling()(pyramid((8, 8, 8)), one_image((26, 0, 30, 64, 0)))) == [27, 35]


def test_the_smaller_of_two_boxes_gets_the_point():
    matches = CenterSampling(radius=None)(pyramid((8, 8, 8)), one_image((0, 0, 64, 64, 0), (24, 24, 40, 40, 1)))
    assert samples_of(matches, target=1) == [27, 28, 35, 36]
    assert len(samples_of(matches, target=0)) == 60


def test_of_equal_areas_the_first_target_gets_the_point():
    matches = CenterSampling()(pyramid((8, 8, 8)), one_image((16, 16, 48, 48, 0), (16, 16, 48, 48, 1)))
    assert {target for *_, target in pairs(matches)} == {0}


def test_a_target_too_small_for_any_point_gets_none():
    assert pairs(CenterSampling()(pyramid((8, 8, 8)), one_image((5, 5, 11, 11, 0)))) == set()


def test_a_point_whose_cell_lies_in_an_ignore_region_is_ignored():
    matches = CenterSampling()(pyramid((4, 4, 8)), one_image(ignore=[[0, 0, 8, 12]]))
    assert matches.ignored.nonzero().tolist() == [[0, 0]]
    matches = CenterSampling(ignore_threshold=0.4)(pyramid((4, 4, 8)), one_image(ignore=[[0, 0, 8, 12]]))
    assert matches.ignored.nonzero().tolist() == [[0, 0], [0, 4]]
    assert CenterSampling(ignore_threshold=0)(pyramid((4, 4, 8)), one_image(ignore=[[0, 0, 8, 12]])).ignored is None


def test_ranges_must_be_one_per_level():
    with pytest.raises(ValueError, match=r"ranges: expected one pair per level \(5\), got 2"):
        CenterSampling(ranges=[(0, 64), (64, 128)])(one_point_per_level(), one_image(square_around(10)))


def test_only_derived_ranges_follow_the_scale_of_the_image():
    assert CenterSampling().scale_invariant
    assert not CenterSampling(ranges=[(0, 64)]).scale_invariant
