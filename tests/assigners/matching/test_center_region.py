import pytest
import torch
from support.small import one_image, pairs, pyramid, samples_of

from detassign.assigners import CenterRegion

ROW = pyramid((1, 8, 8))  # cells of 8 pixels at 0, 8, … 56
LARGE, SMALL = (0, 0, 64, 8), (16, 0, 40, 8)  # cores from 25.6 to 38.4, cells 3 and 4, and to 30.4, cell 3


def spared(matches, targets):
    """The spared (sample, class) of one image."""
    return set(map(tuple, matches.spared_entries(targets, ROW.logits.shape)[0].nonzero().tolist()))


def test_cells_that_meet_the_core_answer():
    targets = one_image((*LARGE, 0))
    matches = CenterRegion()(ROW, targets)
    assert samples_of(matches) == [3, 4]
    assert spared(matches, targets) == set()
    assert samples_of(CenterRegion(least_share=0.15)(ROW, targets)) == [3, 4]  # 6.4 by 1.6 of 64 square pixels
    assert samples_of(CenterRegion(least_share=0.17)(ROW, targets)) == []


def test_the_class_is_spared_around_the_core():
    targets = one_image((*LARGE, 2))
    matches = CenterRegion(surroundings=0.5)(ROW, targets)  # from 16 to 48
    assert samples_of(matches) == [3, 4]
    assert spared(matches, targets) == {(2, 2), (5, 2)}


def test_a_cell_that_meets_the_core_with_its_middle_outside_the_box_is_spared():
    targets = one_image((25, 0, 27, 8, 1))
    matches = CenterRegion(core=1.0)(ROW, targets)
    assert not len(matches.sample)
    assert spared(matches, targets) == {(3, 1)}


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_smallest_object_takes_a_contested_cell_and_the_class_of_the_other_is_spared(order):
    objects = [(*LARGE, 0), (*SMALL, 1)]
    targets = one_image(*(objects[place] for place in order))
    matches = CenterRegion()(ROW, targets)
    assert pairs(matches) == {(0, 4, order.index(0)), (0, 3, order.index(1))}
    assert spared(matches, targets) == {(3, 0)}


def test_a_cell_contested_by_one_class_is_the_smaller_objects_or_as_in_mmdet_nobodys():
    targets = one_image((*LARGE, 0), (*SMALL, 0))
    matches = CenterRegion()(ROW, targets)
    assert pairs(matches) == {(0, 4, 0), (0, 3, 1)}
    assert spared(matches, targets) == set()
    matches = CenterRegion(foreground_dominates=False)(ROW, targets)
    assert pairs(matches) == {(0, 4, 0)}
    assert spared(matches, targets) == {(3, 0)}


def test_ignore_regions_silence_cells_without_an_object_or_all_whose_middle_is_in_their_middle():
    targets = one_image((*LARGE, 0), ignore=[(24, 0, 64, 8)])
    matches = CenterRegion()(ROW, targets)
    assert samples_of(matches) == [3, 4]
    assert matches.ignored[0].nonzero()[:, 0].tolist() == [5, 6, 7]
    matches = CenterRegion(ignore_scale=0.5)(ROW, targets)  # from 34 to 54
    assert samples_of(matches) == [3]
    assert matches.ignored[0].nonzero()[:, 0].tolist() == [4, 5, 6]


def test_cells_outside_the_image_and_places_of_padding_have_no_part():
    valid = torch.tensor([[True] * 4 + [False] * 4])
    targets = one_image((*LARGE, 0))
    assert samples_of(CenterRegion(surroundings=0.5)(pyramid((1, 8, 8), valid=valid), targets)) == [3]
    nothing = CenterRegion()(ROW, one_image())
    assert nothing.spared.shape == (3, 0)


def test_surroundings_are_no_smaller_than_the_core():
    with pytest.raises(ValueError, match=r"surroundings: expected at least the core's 0\.5, got 0\.2"):
        CenterRegion(core=0.5, surroundings=0.2)
    with pytest.raises(ValueError, match="core: expected a positive number, got 0"):
        CenterRegion(core=0)
