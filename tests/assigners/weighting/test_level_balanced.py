from dataclasses import replace

import pytest
import torch
from support.small import one_image, pyramid

from detassign.assigners import LevelBalanced, Matches, Sigmoid, build
from detassign.assigners.weighting import LevelCounts, focal

TARGET = (0, 0, 32, 32, 0)


def of_samples(*sample):
    sample = torch.tensor(sample, dtype=torch.long)
    return Matches(torch.zeros_like(sample), sample, torch.zeros_like(sample), torch.ones(len(sample)))


def weights(balanced, *sample):
    """Assignments by the weighting inside and by the balanced one, of levels of four, four and one samples."""
    predictions, targets = pyramid((2, 2, 8), (2, 2, 16), (1, 1, 32)), one_image(TARGET)
    given = predictions, targets, of_samples(*sample), Sigmoid()(predictions)
    return balanced.weighting(*given), balanced(*given)


def test_a_level_weighs_twice_where_it_had_the_fewest_positives_and_once_where_it_had_the_most():
    plain, balanced = weights(LevelBalanced(focal(box_scale=2.0)), 0, 1, 2, 4)  # 3, 1 and 0 positives
    factors = torch.tensor([1.0, 2 - 1 / 3, 2.0])
    torch.testing.assert_close(balanced.positive, plain.positive * factors[[0, 0, 0, 1]])
    torch.testing.assert_close(balanced.box, 2 * factors[[0, 0, 0, 1]])
    torch.testing.assert_close(balanced.negative, plain.negative * factors[[0] * 4 + [1] * 4 + [2]][:, None])
    assert torch.equal(balanced.normalizers, plain.normalizers)


def test_the_counts_go_on_through_a_training_and_stand_still_outside_of_it():
    balanced = LevelBalanced()
    weights(balanced, 0, 1)
    weights(balanced, 4, 8)
    assert balanced.counts.totals[:3].tolist() == [2, 1, 1]
    weights(balanced.eval(), 0, 1, 2)
    assert balanced.counts.totals[:3].tolist() == [2, 1, 1]


def test_two_weightings_may_share_the_counts():
    counts = LevelCounts()
    for balanced in (LevelBalanced(counts=counts), LevelBalanced(counts=counts)):
        weights(balanced, 0)
    assert counts.totals[:3].tolist() == [2, 0, 0]


def test_the_counts_are_in_the_state_dict():
    one, other = LevelBalanced(), LevelBalanced()
    weights(one, 0, 0, 4)
    other.load_state_dict(one.state_dict())
    assert other.counts.totals[:3].tolist() == [2, 1, 0]


def test_samples_without_levels_keep_their_weights():
    predictions, targets = pyramid((2, 2, 8)), one_image(TARGET)
    queries = replace(predictions, level_sizes=None, strides=predictions.strides[None])
    given = queries, targets, of_samples(0, 1), Sigmoid()(queries)
    balanced = LevelBalanced()
    assert torch.equal(balanced(*given).positive, balanced.weighting(*given).positive)
    assert not balanced.counts.totals.count_nonzero()


def test_every_level_weighs_the_same_without_objects():
    plain, balanced = weights(LevelBalanced())
    torch.testing.assert_close(balanced.negative, 2 * plain.negative)


def test_what_the_weighting_inside_asks_for_is_asked_for():
    balanced = LevelBalanced("cross_entropy")
    assert balanced.score_models == balanced.weighting.score_models
    assert balanced.needs == balanced.weighting.needs | {"level_sizes"}
    with pytest.raises(ValueError, match="weighting: defined for the score model Softmax"):
        build({"matching": "atss", "weighting": {"type": "level_balanced", "weighting": "cross_entropy"}}, 3)


def test_more_levels_than_are_counted_are_refused():
    predictions, targets = pyramid(*[(1, 1, 8)] * 17), one_image(TARGET)
    with pytest.raises(ValueError, match="level_sizes: expected at most 16 levels, got 17"):
        LevelBalanced()(predictions, targets, of_samples(0), Sigmoid()(predictions))
