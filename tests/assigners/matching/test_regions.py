import pytest
import torch
from support.small import one_image, pyramid

from detassign.assigners import Region

ROW = pyramid((1, 6, 8))  # points at x 4, 12, … 44, y 4


def held(region, box):
    return region.holds(ROW, one_image((*box, 0)))[0, 0].nonzero()[:, 0].tolist()


def test_in_the_box_is_farther_than_the_margin_from_every_side():
    assert held(Region(), (4, 0, 28, 8)) == [1, 2]
    assert held(Region(), (3.9, 0, 28, 8)) == [0, 1, 2]
    assert held(Region(margin=0.2), (3.9, 0, 28, 8)) == [1, 2]


def test_in_the_square_is_nearer_to_the_centre_than_so_many_strides_on_both_axes():
    assert held(Region(inside=False, radius=1.5), (16, 0, 24, 8)) == [1, 2, 3]
    assert held(Region(inside=False, radius=1.0), (16, 0, 24, 8)) == [2]
    assert held(Region(inside=False, radius=1.5), (16, 12, 24, 20)) == []


def test_both_cut_the_square_to_the_box_and_either_joins_them():
    wide = (0, 0, 40, 8)
    assert held(Region(radius=1.5), wide) == [1, 2, 3]
    assert held(Region(radius=1.5), (16, 0, 24, 8)) == [2]
    assert held(Region(radius=1.5, either=True), (16, 0, 24, 8)) == [1, 2, 3]
    assert held(Region(radius=0.5, either=True), wide) == [0, 1, 2, 3, 4]


def test_a_box_that_is_no_number_or_has_no_area_holds_nothing():
    for box in ((torch.nan, 0, 20, 8), (12, 4, 12, 4)):
        assert held(Region(), box) == []
    assert held(Region(inside=False, radius=1.5), (12, 4, 12, 4)) == [0, 1, 2]


def test_a_region_comes_from_its_arguments():
    assert Region.of({"radius": 2.5}) == Region(radius=2.5)
    assert Region.of(None) is None
    with pytest.raises(ValueError, match="region: expected some of inside, margin, radius and either, got"):
        Region.of({"radios": 1})
    with pytest.raises(
        ValueError, match=r"region: expected a box \(inside\), a square \(radius\) or both, got neither"
    ):
        Region(inside=False)
    for sizes in ({"radius": "wide"}, {"margin": -1}, {"radius": torch.nan}):
        with pytest.raises(ValueError, match=r"(radius|margin): expected a number of at least 0, got"):
            Region.of(sizes)
