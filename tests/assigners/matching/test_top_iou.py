import pytest
import torch
from support.small import one_image, pairs, pyramid, samples_of

from detassign.assigners import TopIoU

ROW = pyramid((1, 6, 8))  # points at 4, 12, … 44 of a row, squares of 16 px


def test_an_object_takes_the_anchors_that_overlap_it_most():
    matches = TopIoU(k=2, prior_scale=2)(ROW, one_image((10, -4, 26, 12, 0)))
    assert samples_of(matches) == [1, 2]
    torch.testing.assert_close(matches.score.sort().values, torch.tensor([10 / 22, 14 / 18]))


def test_equal_overlaps_go_to_the_nearest():
    matches = TopIoU(k=1, prior_scale=2)(ROW, one_image((-8, -20, 58, 28, 0)))  # all but the last lie inside
    assert samples_of(matches) == [3]  # at 28; the centre is at 25


def test_an_object_that_nothing_overlaps_takes_the_nearest_anchors():
    matches = TopIoU(k=2, prior_scale=1)(ROW, one_image((60, 0, 64, 8, 0)))
    assert samples_of(matches) == [4, 5]
    assert matches.score.tolist() == [0, 0]


def test_bags_share_anchors_and_are_no_larger_than_there_are_samples():
    matches = TopIoU(k=50)(ROW, one_image((0, 0, 8, 8, 0), (0, 0, 8, 8, 1)))
    assert pairs(matches) == {(0, sample, target) for sample in range(6) for target in range(2)}


def test_targets_in_parts_give_the_pairs_of_all_at_once(monkeypatch):
    targets = one_image((0, 0, 8, 8, 0), (10, -4, 26, 12, 1), (30, 0, 40, 8, 1))
    whole = pairs(TopIoU(k=2)(ROW, targets))
    monkeypatch.setattr("detassign.assigners.matching.pairs.PAIRS_IN_CACHE", 6)
    assert pairs(TopIoU(k=2)(ROW, targets)) == whole


@pytest.mark.parametrize("ties", ["nearest", "any"])
def test_either_way_of_settling_ties_takes_k_of_the_best(ties):
    matches = TopIoU(k=3, prior_scale=2, ties=ties)(ROW, one_image((-8, -20, 58, 28, 0)))
    assert len(matches.sample) == 3
    assert matches.score.unique().numel() == 1


@pytest.mark.parametrize(("arguments", "named"), [({"k": 0}, "k:"), ({"ties": "first"}, "ties:")])
def test_what_makes_no_sense_is_refused(arguments, named):
    with pytest.raises(ValueError, match=named):
        TopIoU(**arguments)
