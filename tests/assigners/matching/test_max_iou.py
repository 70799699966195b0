import pytest
import torch
from support.small import one_image, pairs, pyramid

from detassign.assigners import MaxIoU, Predictions

# IoU with the target (0, 0, 10, 10): 1, 0.6, 0.45, 0.2, 0
PRIORS = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 6], [0, 0, 10, 4.5], [0, 0, 10, 2], [50, 50, 60, 60]])
TARGET = (0, 0, 10, 10, 1)


def anchors(priors=PRIORS, images=1):
    n = len(priors)
    points = (priors[:, :2] + priors[:, 2:]) / 2
    return Predictions(torch.zeros(images, n, 3), torch.zeros(images, n, 4), None, points, torch.ones(n), (n,), priors)


def test_a_sample_is_positive_from_the_threshold_on_negative_below_and_ignored_between():
    matches = MaxIoU()(anchors(), one_image(TARGET))
    assert pairs(matches) == {(0, 0, 0), (0, 1, 0)}
    assert matches.score.tolist() == pytest.approx([1.0, 0.6])
    assert matches.ignored.tolist() == [[False, False, True, False, False]]


def test_a_pair_of_negative_thresholds_ignores_what_lies_below_the_lower():
    matches = MaxIoU(negative_iou=(0.1, 0.5))(anchors(), one_image(TARGET))
    assert matches.ignored.tolist() == [[False, False, False, False, True]]


def test_every_target_keeps_its_best_sample():
    matches = MaxIoU()(anchors(PRIORS[2:]), one_image(TARGET))
    assert pairs(matches) == {(0, 0, 0)}
    assert matches.score.tolist() == pytest.approx([0.45])


@pytest.mark.parametrize("arguments", [{"match_low_quality": False}, {"minimum_iou": 0.46}])
def test_unless_that_is_switched_off_or_too_poor(arguments):
    assert pairs(MaxIoU(**arguments)(anchors(PRIORS[2:]), one_image(TARGET))) == set()


def test_samples_that_share_the_best_iou_all_count_or_one_does():
    shared = anchors(PRIORS[[2, 2, 3]])
    assert pairs(MaxIoU()(shared, one_image(TARGET))) == {(0, 0, 0), (0, 1, 0)}
    assert pairs(MaxIoU(all_best=False)(shared, one_image(TARGET))) == {(0, 0, 0)}


def test_a_target_that_overlaps_nothing_claims_nothing():
    far, point = (80, 80, 90, 90, 0), (5, 5, 5, 5, 0)
    assert pairs(MaxIoU()(anchors(), one_image(far))) == set()
    assert pairs(MaxIoU()(anchors(), one_image(point))) == set()


def test_a_sample_that_is_the_best_of_two_goes_to_the_higher_iou_or_by_choice_to_the_last():
    """Both targets overlap only the first prior: IoU 0.3 and 0.2."""
    two = one_image((0, 0, 10, 3, 0), (0, 0, 10, 2, 1))
    assert pairs(MaxIoU()(anchors(PRIORS[:1]), two)) == {(0, 0, 0)}
    assert pairs(MaxIoU(conflict="last")(anchors(PRIORS[:1]), two)) == {(0, 0, 1)}


def test_an_image_without_targets_is_all_negative():
    matches = MaxIoU()(anchors(), one_image())
    assert pairs(matches) == set()
    assert not matches.ignored.any()


@pytest.mark.parametrize("targets", [(), (TARGET,)])
def test_a_sample_in_a_crowd_region_is_ignored_whether_there_are_targets_or_not(targets):
    matches = MaxIoU(negative_iou=0.5)(anchors(), one_image(*targets, ignore=[[50, 50, 60, 54], [50, 54, 60, 60]]))
    assert matches.ignored.tolist() == [[False, False, False, False, True]]
    matches = MaxIoU(ignore_threshold=0)(anchors(), one_image(*targets, ignore=[[50, 50, 60, 60]]))
    assert not matches.ignored[0, 4]


def test_without_priors_squares_are_drawn_around_the_points():
    """Stride 8, four strides wide: the square of the sample at (12, 12) is the target itself."""
    matches = MaxIoU()(pyramid((4, 4, 8)), one_image((-4, -4, 28, 28, 0)))
    best = matches.score.argmax()
    assert matches.sample[best] == 5
    assert matches.score[best] == 1


def test_another_similarity_may_take_the_place_of_iou():
    """By the distance of centres alone: 0, 2, 2.75, 4 and 70 pixels; exp(-d / 4) is 1, 0.61, 0.5, 0.37 and 0."""
    metric = {"type": "dotd", "constant": 4.0}
    matches = MaxIoU(0.55, 0.4, metric=metric)(anchors(), one_image(TARGET))
    assert pairs(matches) == {(0, 0, 0), (0, 1, 0)}
    assert matches.ignored.tolist() == [[False, False, True, False, False]]
    assert not MaxIoU(metric=metric).scale_invariant
    assert MaxIoU().scale_invariant
    assert MaxIoU(metric=metric).kind != MaxIoU().kind == MaxIoU(0.7).kind


def test_an_unknown_conflict_rule_is_refused():
    with pytest.raises(ValueError, match="conflict: expected one of best, last, own, got 'first'"):
        MaxIoU(conflict="first")
