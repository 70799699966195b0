"""Ranking on the 8-pixel cells of one map, whose points are (4, 4), (12, 4), …, as 8-pixel squares."""

import pytest
import torch
from support.small import one_image, pairs, pyramid, samples_of

from detassign.assigners import Ranking, Targets, build

CELL = {"prior_scale": 1.0}
BETWEEN = (6.0, 6.0, 10.0, 10.0, 0)  # its centre is as far from four points
NEAR_ONE = (11.0, 2.0, 14.0, 5.0, 1)  # nearest to (12, 4), sample 1


def test_an_object_takes_its_most_similar_samples_inside_or_not():
    matches = Ranking(k=2, **CELL)(pyramid((4, 4, 8)), one_image((13, 3, 15, 5, 0)))  # centre (14, 4)
    assert samples_of(matches) == [1, 2]
    assert matches.score.tolist() == pytest.approx([0.6912, 0.5607], abs=1e-4)  # exp(-W / 12.7), W^2 = 4 + 18, 36 + 18


def test_of_equal_samples_those_of_lower_index_or_all_are_taken():
    predictions, targets = pyramid((4, 4, 8)), one_image(BETWEEN)
    assert samples_of(Ranking(k=3, **CELL)(predictions, targets)) == [0, 1, 4]
    assert samples_of(Ranking(k=3, ties="join", **CELL)(predictions, targets)) == [0, 1, 4, 5]


def test_of_equally_similar_samples_the_nearer_ones_are_taken():
    """Squares of 32 pixels that hold all of the object have the same IoU with it."""
    ranking = Ranking("iou", k=2, prior_scale=4.0)
    assert samples_of(ranking(pyramid((1, 4, 8)), one_image((14, 2, 16, 4, 0)))) == [1, 2]


def test_a_contested_sample_goes_to_the_most_similar_object_or_to_the_last():
    predictions, farther = pyramid((1, 4, 8)), (14.0, 2.0, 17.0, 5.0, 0)  # nearest to sample 1 too
    for order, winner in (((NEAR_ONE, farther), 0), ((farther, NEAR_ONE), 1)):
        assert pairs(Ranking(k=1, **CELL)(predictions, one_image(*order))) == {(0, 1, winner)}
        assert pairs(Ranking(k=1, conflict="last", **CELL)(predictions, one_image(*order))) == {(0, 1, 1)}


def test_what_is_similar_to_an_object_and_nobodys_is_ignored_by_choice():
    predictions, targets = pyramid((1, 8, 8)), one_image((0, 0, 8, 8, 0))
    assert Ranking(k=1, **CELL)(predictions, targets).ignored is None
    ignored = Ranking(k=1, ignore_above=0.25, **CELL)(predictions, targets).ignored  # exp(-8 / 12.7) = .53, .28, .15
    assert ignored.tolist() == [[False, True, True, False, False, False, False, False]]
    assert not Ranking(ignore_above=0.25)(predictions, one_image()).ignored.any()


def test_a_pair_without_similarity_is_none():
    far = (1e6, 1e6, 1e6 + 5, 1e6 + 5, 0)
    for ties in ("rank", "join"):
        assert pairs(Ranking(k=1, ties=ties, **CELL)(pyramid((4, 4, 8)), one_image(far, NEAR_ONE))) == {(0, 1, 1)}


def test_a_sample_in_a_crowd_region_is_ignored_unless_it_is_taken():
    matches = Ranking(k=1, **CELL)(pyramid((1, 4, 8)), one_image(NEAR_ONE, ignore=[[0, 0, 16, 8]]))
    assert matches.ignored.tolist() == [[True, False, False, False]]


def test_comparing_in_parts_changes_nothing(monkeypatch):
    predictions = pyramid((8, 8, 8), (4, 4, 16), images=2)
    corners = torch.rand(2, 7, 2, generator=torch.Generator().manual_seed(0)) * 50
    boxes, mask = torch.cat([corners, corners + 9], -1), torch.ones(2, 7, dtype=torch.bool)
    targets = Targets(boxes, torch.zeros(2, 7).long(), mask)
    whole = Ranking(ignore_above=0.3)(predictions, targets)
    monkeypatch.setattr("detassign.assigners.matching.pairs.PAIRS_IN_CACHE", 2 * 80 * 2)
    parts = Ranking(ignore_above=0.3)(predictions, targets)
    assert pairs(parts) == pairs(whole)
    assert torch.equal(parts.ignored, whole.ignored)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"ties": "all"}, "ties: expected one of rank, join, got 'all'"),
        ({"conflict": "first"}, "conflict: expected one of best, last, got 'first'"),
        ({"k": 0}, "k: expected a whole number of at least 1, got 0"),
        ({"metric": "nwdd"}, "unknown similarity 'nwdd'; did you mean 'nwd'"),
    ],
)
def test_what_it_does_not_know_is_refused(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        Ranking(**arguments)


def test_the_presets_differ_as_they_say():
    ours, theirs = build("nwd_rka", 3).matching, build("nwd_rka_original", 3).matching
    assert (ours.ties, ours.conflict, ours.ignore_above) == ("rank", "best", None)
    assert (theirs.ties, theirs.conflict, theirs.ignore_above) == ("join", "last", 0.3)
    assert ours.metric.constant == theirs.metric.constant == 12.7
    assert ours.k == theirs.k == 3
