import pytest
import torch
from support.small import one_image, pairs, pyramid

from detassign.assigners import BACKGROUND, Matches, Predictions, Targets
from detassign.assigners.matching.pairs import (
    candidate_pairs,
    inside_ignored,
    inside_pairs,
    keep_best_target,
    matches_from_target,
    overlapping_pairs,
    prior_boxes,
    real_pairs,
    settle_conflicts,
)


def test_priors_are_used_as_they_are_and_squares_drawn_where_there_are_none():
    assert prior_boxes(pyramid((1, 2, 8)), 2.0).tolist() == [[[-4.0, -4.0, 12.0, 12.0], [4.0, -4.0, 20.0, 12.0]]]
    priors = torch.rand(2, 4)
    assert prior_boxes(pyramid((1, 2, 8), priors=priors), 2.0).tolist() == [priors.tolist()]


def test_queries_have_no_squares():
    with pytest.raises(
        ValueError, match="predictions: this matching needs priors, or points and strides to draw squares"
    ):
        prior_boxes(Predictions(torch.zeros(1, 2, 3), torch.zeros(1, 2, 4)), 1.0)


def test_a_real_pair_has_a_real_target_and_a_valid_sample():
    targets = Targets(torch.zeros(1, 2, 4), torch.zeros(1, 2, dtype=torch.long), torch.tensor([[True, False]]))
    assert real_pairs(pyramid((1, 2, 8)), targets).expand(1, 2, 2).tolist() == [[[True, False], [True, False]]]
    half = pyramid((1, 2, 8), valid=torch.tensor([[False, True]]))
    assert real_pairs(half, targets).tolist() == [[[False, False], [True, False]]]


def test_pairs_inside_come_in_the_order_image_sample_target():
    image, sample, target = inside_pairs(pyramid((1, 2, 8)), one_image((0, 0, 16, 8, 0), (8, 0, 16, 8, 1)))
    assert list(zip(image.tolist(), sample.tolist(), target.tolist(), strict=True)) == [(0, 0, 0), (0, 1, 0), (0, 1, 1)]


def test_one_target_per_sample_becomes_pairs():
    target = torch.tensor([[1, BACKGROUND, 0]])
    matches = matches_from_target(target, torch.tensor([[0.5, 0.9, 0.7]]))
    assert pairs(matches) == {(0, 0, 1), (0, 2, 0)}
    assert matches.score.tolist() == pytest.approx([0.5, 0.7])
    assert matches_from_target(target).score.tolist() == [1.0, 1.0]


def test_a_prior_is_ignored_by_the_region_that_covers_more_than_the_threshold():
    targets = one_image(ignore=[[0, 0, 10, 6], [0, 6, 10, 10]])
    priors = torch.tensor([[0.0, 0, 10, 10], [0, 0, 5, 5], [20, 20, 30, 30], [3, 3, 3, 3]])
    assert inside_ignored(priors[None], targets, 0.5).tolist() == [[True, True, False, False]]
    assert inside_ignored(priors[None], targets, 0.6).tolist() == [[False, True, False, False]]
    assert inside_ignored(priors[None], targets, 0.0) is None
    assert inside_ignored(priors[None], one_image(), 0.5) is None


def test_padding_of_ignore_regions_covers_nothing():
    targets = one_image(ignore=[[0, 0, 10, 10]])
    targets.ignore_mask[0, 0] = False
    assert not inside_ignored(torch.tensor([[[0.0, 0, 10, 10]]]), targets, 0.5).any()


def test_a_sample_keeps_the_pair_with_the_largest_key_and_of_equals_the_lower_target():
    matches = Matches(
        torch.tensor([0, 0, 0, 0, 1]), torch.tensor([0, 0, 1, 1, 0]), torch.tensor([0, 1, 1, 0, 1]), torch.arange(5.0)
    )
    kept = keep_best_target(
        matches,
        torch.tensor([-3.0, -2.0, 5.0, 5.0, -torch.inf]),
        pyramid((1, 2, 8), images=2),
        Targets(torch.zeros(2, 2, 4), torch.zeros(2, 2, dtype=torch.long), torch.ones(2, 2, dtype=torch.bool)),
    )
    assert pairs(kept) == {(0, 0, 1), (0, 1, 0), (1, 0, 1)}
    assert kept.score.tolist() == [1.0, 3.0, 4.0]


def candidates(*boxes, **where):
    """(sample, target) of the candidates on a row of four points 4, 12, 20, 28 at height 4."""
    _, sample, target = candidate_pairs(pyramid((1, 4, 8)), one_image(*boxes), **where)
    return list(zip(sample.tolist(), target.tolist(), strict=True))


def test_candidates_lie_farther_than_the_margin_from_every_side():
    assert candidates((3.5, 0, 20.5, 8, 0)) == [(0, 0), (1, 0), (2, 0)]
    assert candidates((3.5, 0, 20.5, 8, 0), margin=0.5) == [(1, 0)]


def test_small_boxes_may_count_as_larger():
    assert candidates((7, 3, 9, 5, 0)) == []
    assert candidates((7, 3, 9, 5, 0), min_side=10.0) == [(0, 0), (1, 0)]


def test_candidates_may_lie_in_a_square_around_the_centre_cut_to_the_box_or_not():
    box = (8, 0, 24, 8, 0)
    assert candidates(box, radius=0.75) == [(1, 0), (2, 0)]
    assert candidates(box, radius=0.5) == []
    assert candidates((0, 0, 24, 8, 0), radius=0.6) == [(1, 0)]
    assert candidates((15, 3, 17, 5, 0), radius=0.75) == []
    assert candidates((15, 3, 17, 5, 0), radius=0.75, inside=False) == [(1, 0), (2, 0)]


def test_chunks_of_targets_find_the_same_candidates():
    boxes = [(0, 0, 16, 8, 0), (8, 0, 32, 8, 1), (0, 0, 32, 8, 0)]
    assert candidates(*boxes, chunk=1) == candidates(*boxes) == [(0, 0), (0, 2), (1, 0), (1, 1), (1, 2), *THE_REST]


THE_REST = [(2, 1), (2, 2), (3, 1), (3, 2)]


@pytest.mark.parametrize(
    ("among", "chosen", "kept"),
    [
        ("holders", [True, True, False], [False, True, False]),
        ("all", [True, True, False], [False, False, True]),
        ("all", [True, False, False], [True, False, False]),
        ("holders", [False, False, False], [False, False, False]),
    ],
)
def test_a_contested_sample_goes_to_the_largest_key_of_its_holders_or_of_all(among, chosen, kept):
    targets = one_image((0, 0, 8, 8, 0), (0, 0, 8, 8, 0), (0, 0, 8, 8, 0))
    zeros = torch.zeros(3, dtype=torch.long)
    matches = Matches(zeros, zeros, torch.arange(3), torch.ones(3))
    key = torch.tensor([1.0, 2.0, 3.0])
    got = settle_conflicts(matches, torch.tensor(chosen), key, pyramid((1, 1, 8)), targets, among)
    assert got.tolist() == kept


def test_a_tie_goes_to_the_lower_target():
    targets = one_image((0, 0, 8, 8, 0), (0, 0, 8, 8, 0))
    matches = Matches(torch.zeros(2).long(), torch.zeros(2).long(), torch.tensor([1, 0]), torch.ones(2))
    chosen = torch.ones(2, dtype=torch.bool)
    assert settle_conflicts(matches, chosen, torch.ones(2), pyramid((1, 1, 8)), targets).tolist() == [False, True]


@pytest.mark.parametrize(("at_once", "parts"), [(2**24, 1), (1, 3)])
def test_pairs_whose_boxes_share_an_area_come_in_parts(at_once, parts, monkeypatch):
    monkeypatch.setattr("detassign.assigners.matching.pairs.PAIRS_IN_CACHE", at_once)
    predictions = pyramid((1, 2, 8))  # boxes (0, 0) to (8, 8) and (8, 0) to (16, 8)
    predictions.boxes[0, 1, 3] = torch.nan
    targets = one_image((0, 0, 4, 4, 0), (8, 0, 16, 8, 0), (7, 7, 9, 9, 0))
    found = list(overlapping_pairs(predictions, targets))
    assert len(found) == parts
    columns = [torch.cat(column).tolist() for column in zip(*found, strict=True)]
    assert sorted(zip(*columns, strict=True)) == [(0, 0, 0), (0, 0, 2)]
