"""Windows around small objects."""

import pytest

from detassign.evidence.inspection.crops import crops, window

SIZE = (400, 200)


def test_objects_up_to_so_large_a_share_of_the_image_are_small():
    assert [crop.targets for crop in crops([(0, 0, 60, 30), (0, 0, 61, 30)], SIZE, 1)] == [(0,)]


def test_neighbours_share_the_window_of_the_smallest():
    boxes = [(100, 100, 110, 110), (120, 100, 124, 104), (300, 10, 310, 20)]
    assert [crop.targets for crop in crops(boxes, SIZE, 8)] == [(1, 0), (2,)]


def test_there_are_no_more_windows_than_asked_for():
    assert [crop.targets for crop in crops([(0, 0, 4, 4), (300, 0, 303, 3)], SIZE, 1, limit=1)] == [(1,)]


@pytest.mark.parametrize("box", [(0, 0, 3, 3), (397, 197, 400, 200), (200, 100, 201, 180), (398, 0, 400.001, 2)])
def test_a_window_lies_inside_the_image_and_keeps_its_proportions(box):
    place, zoom = window(box, SIZE, 2)
    assert place[0] >= 0
    assert place[1] >= 0
    assert place[2] <= SIZE[0] + 1e-9
    assert place[3] <= SIZE[1] + 1e-9
    assert place[2] - place[0] == pytest.approx(SIZE[0] / zoom)
    assert place[3] - place[1] == pytest.approx(SIZE[1] / zoom)


def test_a_window_is_at_least_six_cells_wide():
    place, _ = window((100, 100, 101, 101), SIZE, 8)
    assert place[3] - place[1] == pytest.approx(48)


def test_an_object_that_no_window_can_hold_still_gets_one():
    """A box that sticks out of the image."""
    assert [crop.targets for crop in crops([(-4, 0, 4, 4)], SIZE, 1)] == [(0,)]
