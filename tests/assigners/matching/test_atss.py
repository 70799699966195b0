import pytest
import torch
from support.small import one_image, pairs, pyramid

from detassign.assigners import ATSS, Predictions, Targets
from detassign.assigners.boxes import center

# IoU with the target (0, 0, 10, 10): 1, 0.5, 0.25, 0, in the order of their centres' distance from its centre
PRIORS = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 5], [0, 0, 5, 5], [50, 50, 60, 60]])
TARGET = (0, 0, 10, 10, 1)


def anchors(priors=PRIORS, sizes=None, **parts):
    n = len(priors)
    given = {"logits": torch.zeros(1, n, 3), "boxes": priors[None].clone()}
    return Predictions(
        **{**given, **parts}, points=center(priors), strides=torch.ones(n), level_sizes=sizes or (n,), priors=priors
    )


def test_the_threshold_is_mean_plus_unbiased_deviation_of_the_candidates():
    """k = 3: 0.5833 + 0.3819 = 0.9652; k = 4: 0.4375 + 0.4270 = 0.8645; k = 2: 0.75 + 0.3536, which nothing reaches."""
    for k in (3, 4):
        assert pairs(ATSS(k=k)(anchors(), one_image(TARGET))) == {(0, 0, 0)}
    assert pairs(ATSS(k=2)(anchors(), one_image(TARGET))) == set()


def test_a_single_candidate_is_its_own_threshold():
    matches = ATSS(k=1)(anchors(), one_image(TARGET))
    assert pairs(matches) == {(0, 0, 0)}
    assert matches.score.tolist() == [1.0]


def test_candidates_are_chosen_on_each_level():
    """With k = 1 on two levels of two, both nearest anchors are candidates: 1 and 0.25, threshold 1.155: none passes."""
    assert pairs(ATSS(k=1)(anchors(sizes=(2, 2)), one_image(TARGET))) == set()


def test_a_positive_has_its_centre_inside_the_box_by_the_margin():
    edge = torch.tensor([[0.0, 0, 10, 10]])
    target = one_image((5, 0, 15, 10, 0))  # the anchor's centre lies on its left side
    assert pairs(ATSS(k=1)(anchors(edge), target)) == set()
    assert pairs(ATSS(k=1, margin=-0.1)(anchors(edge), target)) == {(0, 0, 0)}


def test_a_sample_that_passes_for_two_targets_goes_to_the_higher_iou():
    two = one_image((0, 0, 10, 8, 0), TARGET)
    assert pairs(ATSS(k=1)(anchors(), two)) == {(0, 0, 1)}


def test_without_priors_squares_of_eight_strides_are_drawn():
    predictions = pyramid((8, 8, 8), (4, 4, 16))
    matches = ATSS()(predictions, one_image((0, 0, 64, 64, 0)))
    best = matches.score.argmax()
    assert len(matches.sample) > 0
    assert matches.score[best] == pytest.approx((60 * 60) / (64 * 64 + 64 * 64 - 60 * 60))
    assert matches.sample[best] in (27, 28, 35, 36)


def test_ignored_anchors_are_candidates_last_and_never_ignored_when_positive():
    targets = one_image(TARGET, ignore=[[50, 50, 60, 60]])
    matches = ATSS(k=3)(anchors(), targets)
    assert matches.ignored.tolist() == [[False, False, False, True]]
    everywhere = ATSS(k=4)(anchors(), one_image(TARGET, ignore=[[0, 0, 60, 60]]))
    assert pairs(everywhere) == {(0, 0, 0)}
    assert everywhere.ignored.tolist() == [[False, True, True, True]]


def test_alpha_mixes_class_score_and_predicted_iou():
    """Predicted boxes as the anchors, and a class score of 0.25 for the best: sqrt(0.25 * 1) = 0.5 beside sqrt(1 * 0.5)."""
    logits = torch.full((1, 4, 3), 200.0)
    logits[0, 0, 1] = -torch.tensor(3.0).log()
    matches = ATSS(k=2, alpha=0.5, margin=-10)(anchors(logits=logits), one_image(TARGET))
    assert pairs(matches) == set()  # 0.6036 + 0.1464 is above both
    matches = ATSS(k=1, alpha=0.5)(anchors(logits=logits), one_image(TARGET))
    assert matches.score.tolist() == pytest.approx([0.5])


def test_a_broken_prediction_does_not_take_the_others_with_it():
    """Qualities 0.7071, 0.5, and 0 twice, one of them instead of no number: the threshold is 0.6604."""
    broken = PRIORS[None].clone()
    broken[0, 2] = torch.nan
    matches = ATSS(k=4, alpha=0.5)(anchors(boxes=broken), one_image(TARGET))
    assert pairs(matches) == {(0, 0, 0)}


def test_the_label_of_padding_is_never_looked_up():
    targets = Targets(torch.zeros(1, 2, 4), torch.tensor([[99, -5]]), torch.zeros(1, 2, dtype=torch.bool))
    assert pairs(ATSS(alpha=0.5)(anchors(), targets)) == set()
