import pytest
import torch
from support.small import one_image, pyramid

from detassign.assigners import Matches, Sigmoid, build, one_to_few, set_progress
from detassign.assigners.laws.batches import random_batch
from detassign.assigners.soft_targets import OneAndFew

SCORES = [0.5, 0.8, 0.4, 0.2]


def three_pairs():
    """Samples 0 to 2 of a row answer for one object; 0 fits it, 1 has the best score of the others, 2 half of that."""
    spans = [(0.0, 24.0), (0.0, 3.0), (0.0, 2.0), (0.0, 1.0)]
    boxes = torch.tensor([[x1, 0.0, x2, 8.0] for x1, x2 in spans])[None]
    logits = torch.logit(torch.tensor(SCORES))[None, :, None].expand(1, -1, 2).clone()
    predictions = pyramid((1, 4, 8), classes=2, boxes=boxes, logits=logits)
    at = torch.arange(3)
    return predictions, one_image((0, 0, 24, 8, 1)), Matches(at * 0, at, at * 0, torch.ones(3))


def weights(weighting):
    predictions, targets, matches = three_pairs()
    return weighting(predictions, targets, matches, Sigmoid()(predictions))


@pytest.mark.parametrize(("share", "most"), [(0.0, 0.6), (0.5, 0.4), (1.0, 0.2)])
def test_the_best_is_positive_and_the_others_by_halves_that_fall_as_training_goes_on(share, most):
    weighting = one_to_few()
    set_progress(weighting, share)
    assignment = weights(weighting)
    target = torch.tensor([1.0, most, most / 2])
    torch.testing.assert_close(assignment.details["target"], target)
    scale = torch.tensor([1.0, 0.4, 0.4])
    torch.testing.assert_close(assignment.positive, scale * target)
    torch.testing.assert_close(assignment.negative[0, :3, 1], scale * (1 - target))
    score = torch.tensor(SCORES)
    torch.testing.assert_close(assignment.negative[0, :, 0], 0.75 * score**2)
    torch.testing.assert_close(assignment.negative[0, 3, 1], 0.75 * score[3] ** 2)


def test_soft_samples_count_and_boxes_are_weighted_by_centerness():
    assignment = weights(one_to_few())
    assert assignment.normalizers[:2].tolist() == [3, 3]
    centerness = torch.tensor([(4 / 20) ** 0.5, 1.0, (4 / 20) ** 0.5])
    torch.testing.assert_close(assignment.box, 2 * centerness)
    torch.testing.assert_close(assignment.normalizers[2], centerness.sum())


def test_of_equal_qualities_the_pair_of_larger_score_is_the_best():
    predictions, targets, matches = three_pairs()
    predictions.boxes[:] = 0
    target = OneAndFew()(predictions, targets, matches, Sigmoid()(predictions))
    torch.testing.assert_close(target, torch.tensor([0.6, 1.0, 0.48]))


def test_a_score_of_nothing_or_no_number_is_graded_nothing():
    predictions, targets, matches = three_pairs()
    predictions.logits[0, 1], predictions.logits[0, 2] = -1e4, torch.nan
    target = OneAndFew()(predictions, targets, matches, Sigmoid()(predictions))
    assert target.tolist() == [1, 0, 0]


def test_a_checkpoint_knows_how_soft_the_others_are():
    trained, other = build("o2f", 3), build("o2f", 3)
    set_progress(trained, 0.75)
    other.load_state_dict(trained.state_dict())
    assert other.weighting.target.largest == pytest.approx(0.3)


def test_without_pairs_there_is_no_loss_of_boxes():
    predictions, targets = random_batch(build("o2f", 3), counts=(0, 0))
    losses = build("o2f", 3).loss(predictions, targets)
    assert losses["loss_box"] == 0
    assert losses["loss_cls_neg"] > 0


@pytest.mark.parametrize("arguments", [{"first": 1.0}, {"last": -0.1}])
def test_shares_that_are_none_are_refused(arguments):
    with pytest.raises(ValueError, match="expected a number from 0 to below 1"):
        one_to_few(**arguments)
