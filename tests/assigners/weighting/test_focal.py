import math

import pytest
import torch
from support.random_batches import random_batch
from support.small import one_image, pyramid

from detassign.assigners import Assigner, Matches, Sigmoid, build, focal

LOGITS = torch.tensor([[[math.log(3), 0.0, -math.log(3)], [0.0, 0.0, 0.0]]])  # P 0.75, 0.5, 0.25; 0.5 everywhere
TARGETS = one_image((0, 0, 16, 8, 0))


def assignment_of(weighting, ignored=None, **parts):
    predictions = pyramid((1, 2, 8), logits=LOGITS, **parts)
    zero = torch.tensor([0])
    matches = Matches(zero, zero, zero, torch.ones(1), ignored)
    return weighting(predictions, TARGETS, matches, Sigmoid()(predictions))


def test_weights_are_the_focal_factors():
    assignment = assignment_of(focal())
    assert assignment.positive.tolist() == pytest.approx([0.25 * 0.25**2])
    rows = [[0.0, 0.75 * 0.25, 0.75 * 0.0625], [0.75 * 0.25] * 3]
    torch.testing.assert_close(assignment.negative, torch.tensor([rows]))


def test_without_alpha_and_gamma_it_is_cross_entropy():
    assignment = assignment_of(focal(alpha=None, gamma=0.0))
    assert assignment.positive.tolist() == [1.0]
    assert assignment.negative.tolist() == [[[0.0, 1.0, 1.0], [1.0, 1.0, 1.0]]]


def test_boxes_are_scaled_after_their_normalizer_is_taken():
    plain, scaled = (assignment_of(focal(box_weight="centerness", box_floor=1e-6, box_scale=s)) for s in (1.0, 2.0))
    assert plain.normalizers.tolist() == pytest.approx([1.0, 1.0, 3**-0.5])
    assert torch.equal(scaled.normalizers, plain.normalizers)
    assert torch.equal(scaled.box, 2 * plain.box)


def test_an_ignored_sample_is_not_pushed_down():
    assignment = assignment_of(focal(), ignored=torch.tensor([[False, True]]))
    assert assignment.negative[0, 1].tolist() == [0.0] * 3
    assert assignment.negative[0, 0, 1] > 0


def test_an_image_without_positives_may_count_as_one():
    predictions = pyramid((1, 2, 8), images=3)
    matches = Matches(torch.tensor([1, 1]), torch.tensor([0, 1]), torch.tensor([0, 0]), torch.ones(2))
    targets = type(TARGETS)(
        torch.rand(3, 1, 4), torch.zeros(3, 1, dtype=torch.long), torch.ones(3, 1, dtype=torch.bool)
    )
    for floor_per_image, count in ((False, 2.0), (True, 4.0)):
        weighting = focal(floor_per_image=floor_per_image)
        assignment = weighting(predictions, targets, matches, Sigmoid()(predictions))
        assert assignment.normalizers.tolist() == [count, count, 2.0]


def test_the_class_scale_scales_both_signs():
    predictions, targets = random_batch(build("max_iou", num_classes=3))
    plain, scaled = (Assigner("max_iou", focal(class_scale=scale))(predictions, targets) for scale in (1.0, 2.0))
    assert torch.equal(scaled.positive, 2 * plain.positive)
    assert torch.equal(scaled.negative, 2 * plain.negative)
    assert torch.equal(scaled.box, plain.box)
    assert torch.equal(scaled.normalizers, plain.normalizers)


def test_the_count_of_targets_is_that_of_pairs_where_there_are_more():
    assigner = Assigner("hungarian", focal(count="targets"))
    predictions, targets = random_batch(assigner, 0, (100, 3))
    assert assigner(predictions, targets).normalizers.tolist() == [103.0] * 3
    once = assigner.match(predictions, targets)
    thrice = once.select(torch.arange(len(once.image)).repeat(3))
    assert assigner(predictions, targets, thrice).normalizers.tolist() == [3.0 * len(once.image)] * 3


def test_an_unknown_count_is_refused():
    with pytest.raises(ValueError, match=r"count: expected one of positives, targets, .*, got 'boxes'"):
        focal(count="boxes")
