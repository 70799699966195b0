import math

import pytest
import torch
from support.small import one_image, pyramid

from detassign.assigners import Matches, Sigmoid, quality_focal

# Sample 0 predicts a box of IoU 1/2 with target 0 and of IoU 1/4 with target 1; sample 1 learns nothing.
BOXES = torch.tensor([[[0.0, 0.0, 8.0, 8.0], [8.0, 0.0, 16.0, 8.0]]])
LOGITS = torch.tensor([[[math.log(3), 0.0, -math.log(3)], [0.0, 0.0, 0.0]]])  # P 0.75, 0.5, 0.25; 0.5 everywhere
FIRST, SECOND = (0, 0, 16, 8), (0, 0, 32, 8)


def assignment_of(labels=(0, 1), weighting=None):
    predictions = pyramid((1, 2, 8), logits=LOGITS, boxes=BOXES)
    targets = one_image((*FIRST, labels[0]), (*SECOND, labels[1]))
    zero = torch.zeros(2, dtype=torch.long)
    matches = Matches(zero, zero, torch.tensor([0, 1]), torch.ones(2))
    return (weighting or quality_focal())(predictions, targets, matches, Sigmoid()(predictions))


def test_the_score_of_a_pair_is_pulled_to_the_iou_of_its_box():
    assignment = assignment_of()
    assert assignment.details["target"].tolist() == [0.5, 0.25]
    assert assignment.positive.tolist() == pytest.approx([0.25**2 * 0.5, 0.25**2 * 0.25])
    rows = [[0.25**2 * 0.5, 0.25**2 * 0.75, 0.25**2], [0.25] * 3]
    torch.testing.assert_close(assignment.negative, torch.tensor([rows]))


def test_a_score_that_equals_its_quality_is_left_alone():
    assignment = assignment_of(labels=(1, 2))
    assert assignment.positive.tolist() == pytest.approx([0.0, 0.0])
    assert assignment.negative[0, 0, 1:].tolist() == pytest.approx([0.0, 0.0])


def test_a_class_wanted_by_two_targets_learns_the_better_box():
    assignment = assignment_of(labels=(0, 0))
    assert assignment.positive.tolist() == pytest.approx([0.25**2 * 0.5, 0.0])
    assert assignment.negative[0, 0, 0].item() == pytest.approx(0.25**2 * 0.5)


def test_boxes_weigh_their_samples_best_score_twice():
    assignment = assignment_of()
    assert assignment.box.tolist() == pytest.approx([1.5, 1.5])
    assert assignment.normalizers.tolist() == pytest.approx([2.0, 2.0, 1.5])


def test_beta_zero_is_cross_entropy_with_the_iou():
    assignment = assignment_of(weighting=quality_focal(beta=0.0, box_weight="one", box_scale=1.0))
    assert assignment.positive.tolist() == [0.5, 0.25]
    assert assignment.negative.tolist() == [[[0.5, 0.75, 1.0], [1.0, 1.0, 1.0]]]
    assert assignment.box.tolist() == [1.0, 1.0]
