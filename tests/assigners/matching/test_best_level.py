import math
from dataclasses import replace

import pytest
import torch
from support.small import one_image, pyramid, samples_of

from detassign.assigners import BestLevel, CenterRegion
from detassign.assigners.matching.focal_losses import focal_losses
from detassign.assigners.scores import Sigmoid

TARGETS = one_image((16, 16, 48, 48, 0))
FINE, COARSE = [27, 28, 35, 36], [64 + 5, 64 + 6, 64 + 9, 64 + 10]
LN2 = math.log(2)


def two_levels(coarse_boxes=(16.0, 16.0, 48.0, 48.0), **parts):
    """Boxes of one cell on the fine level, those given on the coarse one."""
    predictions = pyramid((8, 8, 8), (4, 4, 16), **parts)
    predictions.boxes[:, 64:] = torch.tensor(coarse_boxes)
    return predictions


def test_an_object_keeps_the_level_of_least_mean_loss_and_its_class_is_spared_on_the_other():
    predictions = two_levels()
    matches = BestLevel()(predictions, TARGETS)
    assert samples_of(CenterRegion()(predictions, TARGETS)) == FINE + COARSE
    assert samples_of(matches) == COARSE
    spared = matches.spared_entries(TARGETS, predictions.logits.shape)
    assert spared.nonzero().tolist() == [[0, sample, 0] for sample in FINE]
    assert samples_of(BestLevel()(two_levels((0.0, 0.0, 1.0, 1.0)), TARGETS)) == FINE


def test_the_loss_is_focal_over_all_classes_and_minus_log_iou():
    predictions = two_levels()
    pairs = CenterRegion()(predictions, TARGETS)
    losses = BestLevel().level_losses(pairs, predictions, TARGETS)
    focal = (0.25 + 2 * 0.75) / 4 * LN2  # scores of a half, three classes
    torch.testing.assert_close(losses, torch.tensor([[[focal + 4 * LN2, focal]]]))  # a cell is a 16th of the object


def test_a_level_without_pairs_is_never_the_best_and_ties_go_to_the_lower():
    predictions = two_levels()
    pairs = CenterRegion()(predictions, TARGETS)
    losses = BestLevel().level_losses(pairs.select(pairs.sample < 64), predictions, TARGETS)
    assert losses[0, 0].isinf().tolist() == [False, True]
    same = replace(predictions, boxes=torch.tensor([16.0, 16.0, 48.0, 48.0]).expand(1, 80, 4))
    assert samples_of(BestLevel()(same, TARGETS)) == FINE


def test_losses_that_are_not_finite_lose():
    assert samples_of(BestLevel()(two_levels((math.nan,) * 4), TARGETS)) == FINE
    logits = torch.full((1, 80, 3), math.nan)
    assert samples_of(BestLevel()(two_levels(logits=logits), TARGETS)) == FINE


def test_spared_classes_cost_nothing():
    predictions = two_levels()
    pairs = CenterRegion()(predictions, TARGETS)
    twice = torch.tensor([[0, 0, 0], [27, 27, 27], [1, 1, 0]])  # class 1, and the pair's own
    losses = focal_losses(Sigmoid()(predictions), replace(pairs, spared=twice), TARGETS, 0.25, 2.0)
    other = (0.25 + 2 * 0.75) / 4 * LN2
    assert losses.tolist() == pytest.approx([(0.25 + 0.75) / 4 * LN2] + [other] * 7, rel=1e-6)


def test_without_levels_all_pairs_stay():
    predictions = replace(two_levels(), level_sizes=None, strides=two_levels().strides[None])
    assert samples_of(BestLevel()(predictions, TARGETS)) == FINE + COARSE
