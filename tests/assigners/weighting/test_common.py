import pytest
import torch
from support.small import one_image, pyramid

from detassign.assigners import Matches, Predictions, Sigmoid, focal, quality_focal
from detassign.assigners.weighting.common import (
    box_weights,
    count_positives,
    count_targets,
    countable,
    group_sum,
    pair_centerness,
)


def matches_of(images, samples, ignored=None):
    zeros = torch.zeros(len(images), dtype=torch.long)
    return Matches(torch.tensor(images), torch.tensor(samples), zeros, torch.ones(len(images)), ignored)


def test_positives_are_counted_over_the_batch_or_with_one_for_an_image_without():
    matches = matches_of([0, 0, 0, 2], [0, 1, 2, 0])
    predictions = pyramid((2, 2, 8), images=4)
    assert count_positives(matches, predictions, floor_per_image=False) == 4
    assert count_positives(matches, predictions, floor_per_image=True) == 6


def test_the_count_does_not_follow_the_score():
    matches = Matches(*torch.zeros(3, 2, dtype=torch.long), torch.tensor([0.1, 0.2], requires_grad=True))
    count = count_positives(matches, pyramid((2, 2, 8)), floor_per_image=False)
    assert count == 2
    assert not count.requires_grad


def test_the_centerness_of_a_pair_is_that_of_its_point_or_of_its_anchors_centre():
    targets = one_image((0, 0, 16, 8, 0))
    matches = matches_of([0, 0], [0, 1])
    assert pair_centerness(pyramid((1, 2, 8)), targets, matches).tolist() == pytest.approx([(4 / 12) ** 0.5] * 2)
    anchors = torch.tensor([[6.0, 2.0, 10.0, 6.0], [-40.0, -40.0, -20.0, -20.0]])
    assert pair_centerness(pyramid((1, 2, 8), priors=anchors), targets, matches).tolist() == [1.0, 0.0]


def test_a_point_outside_its_box_has_a_centerness_where_it_counts_as_just_inside():
    targets = one_image((12, 0, 28, 8, 0))  # (4, 4) lies 8 to its left, 24 from its right side
    arguments = pyramid((1, 4, 8)), targets, matches_of([0, 0], [0, 2])
    assert pair_centerness(*arguments).tolist() == pytest.approx([0.0, 1.0])
    assert pair_centerness(*arguments, least_side=0.25).tolist() == pytest.approx([(2 / 24) ** 0.5, 1.0])


def test_queries_have_no_centerness():
    with pytest.raises(
        ValueError, match="centerness: the predictions have neither points nor priors to measure it from"
    ):
        pair_centerness(
            Predictions(torch.zeros(1, 2, 3), torch.zeros(1, 2, 4)), one_image((0, 0, 1, 1, 0)), matches_of([0], [0])
        )


def test_box_weights_are_one_or_the_centerness_or_the_best_score():
    logits = torch.tensor([[[0.0, 1.0986123, -9.0], [0.0, -9.0, -9.0]]], requires_grad=True)
    predictions, targets, matches = (
        pyramid((1, 2, 8), logits=logits),
        one_image((0, 0, 16, 8, 0)),
        matches_of([0, 0], [0, 1]),
    )
    scores = Sigmoid()(predictions)
    assert box_weights("one", predictions, targets, matches, scores, None).tolist() == [1.0, 1.0]
    assert box_weights("centerness", predictions, targets, matches, scores, None).tolist() == pytest.approx(
        [3**-0.5] * 2
    )
    best = box_weights("score", predictions, targets, matches, scores, None)
    assert best.tolist() == pytest.approx([0.75, 0.5])
    assert not best.requires_grad


@pytest.mark.parametrize("weighting", [focal, quality_focal])
def test_an_unknown_box_weight_is_refused(weighting):
    with pytest.raises(ValueError, match="box_weight: expected one of one, centerness, score, iou, target, got 'area'"):
        weighting(box_weight="area")


def test_ignored_and_invalid_samples_do_not_count():
    predictions = pyramid((1, 2, 8), images=2)
    matches = matches_of([0], [0])
    assert countable(predictions, matches) == 1
    ignoring = matches_of([0], [0], ignored=torch.tensor([[True, False], [False, False]]))
    assert countable(predictions, ignoring)[..., 0].tolist() == [[0.0, 1.0], [1.0, 1.0]]
    partly = pyramid((1, 2, 8), images=2, valid=torch.tensor([[True, True], [True, False]]))
    assert countable(partly, ignoring)[..., 0].tolist() == [[0.0, 1.0], [1.0, 0.0]]


def test_sums_are_of_everything_or_of_every_group():
    stacked = pyramid((1, 2, 8), images=4, groups=2)
    image, values = torch.tensor([0, 3, 1, 3]), torch.tensor([1.0, 2.0, 4.0, 8.0])
    assert group_sum(values, image, pyramid((1, 2, 8), images=4)) == 15
    assert group_sum(values, image, stacked).tolist() == [5.0, 10.0]
    assert group_sum(values[:, None], None, stacked).tolist() == [3.0, 12.0]
    targets = one_image((0, 0, 8, 8, 0)).repeat(4)
    assert count_targets(targets, stacked).tolist() == [2.0, 2.0]
